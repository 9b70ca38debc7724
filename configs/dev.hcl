# For trying things out, the same as `rookery agent -dev` alone:
#
#   rookery agent -dev -config configs/dev.hcl
#
# Both roles on 127.0.0.1, nothing written to disk. Every other agent on this host needs ports of its own;
# 0 takes any free one.

name       = "dev"
region     = "global"
datacenter = "dc1"
log_level  = "DEBUG"

ports {
  http = 4646
  rpc  = 4647
  serf = 4648
}

# Tell the pool when stopped by Ctrl-C, so that others list this agent as left and not as failed.
leave_on_interrupt = true
