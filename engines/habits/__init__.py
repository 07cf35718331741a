"""What is wrong with a detector all the time: the axes of limbs that it is told in, and the shipped tables."""
