"""Each row of the security table has its check here: docs/explanation/security.md says which."""
