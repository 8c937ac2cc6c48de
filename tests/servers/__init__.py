"""Stand-ins for model servers, checked against recordings of the real ones."""
