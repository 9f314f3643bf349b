"""The console's pages, one file for each. They show what the database says, and change little of it."""
