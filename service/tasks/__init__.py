"""The domain: tasks, where they are stored, how they are cached, and the routes that serve them."""
