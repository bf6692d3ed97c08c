"""What a cluster is made of, checked and rendered from one file. Pure: text in, facts, faults and text out."""
