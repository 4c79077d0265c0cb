"""Where images come from: the host side. Never imports jax."""
