"""The workbench: start the stack, load it, look at it, break it, report. Speaks to the stack from outside."""
