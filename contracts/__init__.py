"""What two processes must agree on: configuration, events, streams, releases and the durable log."""
