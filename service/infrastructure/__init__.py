"""Infrastructure: clients of the Redis Cluster and the database, an in-process cache, and circuit breakers."""
