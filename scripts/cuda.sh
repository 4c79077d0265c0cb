# Sourced before training on NVIDIA GPUs: the backend is cuda or an error, never the CPU in silence. The libraries come with
# pip install -e '.[cuda13]'; a LD_LIBRARY_PATH with another CUDA in it goes before them, so it is cleared.
unset LD_LIBRARY_PATH
export ALEXNET_JAX_BACKEND=${ALEXNET_JAX_BACKEND:-cuda}
[ -e /dev/nvidia0 ] || [ -e /dev/dxg ] || echo "No NVIDIA device (/dev/nvidia0) on this machine" >&2
