"""PostgreSQL: schema, intake, reads, audit log. The only room with SQL."""
