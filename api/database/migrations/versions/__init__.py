"""One file per migration. Never change the resulting schema of a released one: databases have applied it."""
