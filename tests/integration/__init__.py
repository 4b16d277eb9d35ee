"""Three services in processes of their own, the backend that their spans go to, and what must be found there."""
