"""The program as its users meet it: by the command line, in a folder of its own."""
