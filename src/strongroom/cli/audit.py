"""Commands about the audit log."""

import cyclopts

app = cyclopts.App(name="audit", help="Export the audit log, and verify an export without any server.")
