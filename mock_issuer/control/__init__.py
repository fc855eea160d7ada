"""What tests steer: tokens, keys, faults, clock, outcomes, in Python and over HTTP. The flow works without it."""
