"""Plain manifests, for clusters without Helm: what the chart renders, and nothing written by hand."""
