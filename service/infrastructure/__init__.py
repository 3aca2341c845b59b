"""What the service stands on: the Redis Cluster, the database, the memory of this process, and circuit breakers."""
