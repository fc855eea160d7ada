"""The types that the other folders share: tokens, errors, times, step-up, untrusted values. No input or output."""
