// The types are listed by package, as `k8s-openapi` has them; included by `definitions.rs`.
roots! {
    "admissionregistration.v1" => api::admissionregistration::v1: MutatingAdmissionPolicy,
        MutatingAdmissionPolicyBinding, MutatingWebhookConfiguration, ValidatingAdmissionPolicy,
        ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration;
    "apps.v1" => api::apps::v1: ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet;
    "authentication.v1" => api::authentication::v1: SelfSubjectReview, TokenRequest, TokenReview;
    "authorization.v1" => api::authorization::v1: LocalSubjectAccessReview, SelfSubjectAccessReview,
        SelfSubjectRulesReview, SubjectAccessReview;
    "autoscaling.v1" => api::autoscaling::v1: HorizontalPodAutoscaler, Scale;
    "autoscaling.v2" => api::autoscaling::v2: HorizontalPodAutoscaler;
    "batch.v1" => api::batch::v1: CronJob, Job;
    "certificates.v1" => api::certificates::v1: CertificateSigningRequest;
    "coordination.v1" => api::coordination::v1: Lease;
    "core.v1" => api::core::v1: Binding, ComponentStatus, ConfigMap, Endpoints, Event, LimitRange, Namespace, Node,
        PersistentVolume, PersistentVolumeClaim, Pod, PodTemplate, ReplicationController, ResourceQuota, Secret,
        Service, ServiceAccount;
    "discovery.v1" => api::discovery::v1: EndpointSlice;
    "events.v1" => api::events::v1: Event;
    "flowcontrol.v1" => api::flowcontrol::v1: FlowSchema, PriorityLevelConfiguration;
    "networking.v1" => api::networking::v1: IPAddress, Ingress, IngressClass, NetworkPolicy, ServiceCIDR;
    "node.v1" => api::node::v1: RuntimeClass;
    "policy.v1" => api::policy::v1: Eviction, PodDisruptionBudget;
    "rbac.v1" => api::rbac::v1: ClusterRole, ClusterRoleBinding, Role, RoleBinding;
    "resource.v1" => api::resource::v1: DeviceClass, ResourceClaim, ResourceClaimTemplate, ResourceSlice;
    "scheduling.v1" => api::scheduling::v1: PriorityClass;
    "storage.v1" => api::storage::v1: CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment,
        VolumeAttributesClass;
    "apiextensions.v1" => apiextensions_apiserver::pkg::apis::apiextensions::v1: CustomResourceDefinition;
    "meta.v1" => apimachinery::pkg::apis::meta::v1: APIResourceList, DeleteOptions, Status;
    "apiregistration.v1" => kube_aggregator::pkg::apis::apiregistration::v1: APIService;
}
