"""One module for each page of docs/reference/; each has `page()`, which gives the page's text."""
