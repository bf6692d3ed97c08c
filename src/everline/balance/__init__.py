"""The balancer: which ingest nodes own a call, whether they live, and the datagrams on their way to them."""
