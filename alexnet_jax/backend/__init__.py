"""Which device runs it: what JAX leaves out when it loads PJRT plugins, namely choosing and explaining."""
