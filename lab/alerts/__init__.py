"""The alerts as the workbench sees them: their rules, what fires, and whether the numbers in them are sane."""
