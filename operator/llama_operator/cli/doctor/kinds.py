"""Kinds that the command line only reads, and no part of the product writes. Used by `doctor`."""

from typing import Final

from llama_operator.kube.port import Kind

CRD: Final = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False)
DEPLOYMENT: Final = Kind("apps/v1", "Deployment", "deployments")
ADMISSION_POLICY: Final = Kind(
    "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicy",
    "validatingadmissionpolicies",
    namespaced=False,
)
ADMISSION_BINDING: Final = Kind(
    "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicyBinding",
    "validatingadmissionpolicybindings",
    namespaced=False,
)
STORAGE_CLASS: Final = Kind("storage.k8s.io/v1", "StorageClass", "storageclasses", namespaced=False)
NODE_POOL: Final = Kind("karpenter.sh/v1", "NodePool", "nodepools", namespaced=False)
