"""Arguments of `init` and environment variables become one configuration."""
