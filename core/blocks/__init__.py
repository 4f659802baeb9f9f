"""What objectives are built from: heads, joint embedding space, token decoder, EMA teacher, negatives."""
