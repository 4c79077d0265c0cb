"""What the network is. Needs jax, flax and numpy only."""
