"""What reports ask beyond the metrics: links, curves over time, the click map, the Tracking tabs."""
