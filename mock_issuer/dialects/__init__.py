"""The form of the tokens: what several vendors document of theirs."""
