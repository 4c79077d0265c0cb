# Sourced before training on Ascend: the CANN environment. ASCEND_TOOLKIT_HOME names another place than the usual one.
# Not tested on hardware; see docs/backends.md.
toolkit=${ASCEND_TOOLKIT_HOME:-/usr/local/Ascend/ascend-toolkit/latest}
for settings in "$toolkit/set_env.sh" "$toolkit/../set_env.sh"; do
  if [ -f "$settings" ]; then
    . "$settings"
    break
  fi
done
export ALEXNET_JAX_BACKEND=${ALEXNET_JAX_BACKEND:-ascend}
ls /dev/davinci[0-9]* >/dev/null 2>&1 || echo "No Ascend device (/dev/davinci[0-9]*) on this machine" >&2
