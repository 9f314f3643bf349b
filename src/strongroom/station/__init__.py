"""The page on which people see and sign exact bytes, and the process that serves it. It holds nothing at all."""
