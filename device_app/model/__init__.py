"""What the other folders speak of: tokens, errors, times, step-up, untrusted values. No input or output."""
