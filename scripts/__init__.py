"""What is run by hand or by make: the demo, the check of the wheel, and the generated parts of docs/."""
