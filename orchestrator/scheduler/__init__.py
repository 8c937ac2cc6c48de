"""Who speaks when, on which endpoint: decisions are pure, effects are at the edges."""
