"""Two FastAPI services: the storefront, and the payments that it calls."""
