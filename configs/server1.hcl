# The first of three servers of one region. Each has a file like this one; what differs is its name, the
# address it is reached at, and the seeds.
#
#   rookery agent -config configs/server1.hcl

name     = "server-1"
data_dir = "/var/lib/rookery"

# Listen on every interface; tell others this address.
bind_addr = "0.0.0.0"
advertise {
  http = "10.0.0.11"
  rpc  = "10.0.0.11"
  serf = "10.0.0.11"
}

# A stop by the service manager or by hand is meant, so say goodbye: others list this server as left at
# once. Without this they find it failed after some seconds of probing.
leave_on_interrupt = true
leave_on_terminate = true

server {
  enabled          = true
  bootstrap_expect = 3

  # Encrypt gossip: base64 of 32 random bytes, the same on all three (head -c 32 /dev/urandom | base64).
  # encrypt = "…"

  server_join {
    retry_join     = ["10.0.0.12", "10.0.0.13"]
    retry_interval = "15s"
  }
}

gossip {
  # lan finds a dead member in a few seconds, wan (what Nomad uses) in about forty. The same on every
  # member of the pool.
  profile = "lan"
}
