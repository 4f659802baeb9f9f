"""Hard-negative mining: the records nearest to a query that are neither positives nor duplicates of one."""
