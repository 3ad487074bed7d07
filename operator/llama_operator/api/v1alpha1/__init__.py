"""Version v1alpha1 of group llama-operator.io."""
