"""What several folders of tests stand on: signing keys made on the spot, an issuer's key server with faults."""
