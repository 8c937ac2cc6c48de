"""What the README claims about speed, measured as ratios of two things in one run."""
