"""A Flask service with a database: the customers' profiles."""
