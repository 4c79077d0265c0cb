# Sourced before training on Iluvatar: the CoreX environment. COREX_HOME names another place than the usual one.
# Not tested on hardware; see docs/backends.md.
corex=${COREX_HOME:-/usr/local/corex}
export PATH=$corex/bin:$PATH
export LD_LIBRARY_PATH=$corex/lib64:$corex/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export ALEXNET_JAX_BACKEND=${ALEXNET_JAX_BACKEND:-iluvatar}
ls /dev/iluvatar[0-9]* >/dev/null 2>&1 || echo "No Iluvatar device (/dev/iluvatar[0-9]*) on this machine" >&2
