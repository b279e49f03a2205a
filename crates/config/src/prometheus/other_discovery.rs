//! Kinds of discovery that Prometheus 3.16 knows and Outrigger does not act on: their keys are checked, so that a
//! typing mistake is found, and nothing of them is kept.

use outrigger_model::http::HttpClientConfig;

use super::cloud_auth::is_uuid;
use super::files::Files;
use super::http_client;
use crate::go_url;
use crate::yaml::walk::{Cursor, Section, one_of_fix};

/// What kind of value a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Text,
    Secret,
    /// Text that Go's `url.Parse` accepts.
    Url,
    /// A URL with scheme and host.
    Server,
    Integer,
    Boolean,
    Duration,
    Texts,
    TextMap,
    /// A list of `name` and `values`.
    Filters,
    /// Filters of which each needs values.
    FilledFilters,
    Tls,
}

/// When a key must have a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Optional,
    Required,
    /// There is a default, but it cannot be emptied.
    NotEmpty,
}

use Need::{NotEmpty, Optional, Required};
use Type::{
    Boolean, Duration, FilledFilters, Filters, Integer, Secret, Server, Text, TextMap, Texts, Tls, Url,
};

type Key = (&'static str, Type, Need);

/// One kind: its key in a scrape configuration, whether HTTP keys stand beside its own, and its own keys.
struct Kind {
    key: &'static str,
    http: bool,
    keys: &'static [&'static [Key]],
}

const REFRESH_AND_PORT: &[Key] = &[("refresh_interval", Duration, Optional), ("port", Integer, Optional)];

const AWS: &[Key] = &[
    ("region", Text, Optional),
    ("endpoint", Text, Optional),
    ("access_key", Text, Optional),
    ("secret_key", Secret, Optional),
    ("profile", Text, Optional),
    ("role_arn", Text, Optional),
    ("external_id", Text, Optional),
];

const AWS_CLUSTERS: &[Key] = &[("clusters", Texts, Optional), ("request_concurrency", Integer, Optional)];

const ZOOKEEPER: &[Key] =
    &[("servers", Texts, Required), ("paths", Texts, Required), ("timeout", Duration, Optional)];

const KINDS: &[Kind] = &[
    Kind {
        key: "aws_sd_configs",
        http: true,
        keys: &[
            REFRESH_AND_PORT,
            AWS,
            &[("role", Text, Required), ("filters", Filters, Optional), ("clusters", Texts, Optional)],
        ],
    },
    Kind {
        key: "azure_sd_configs",
        http: true,
        keys: &[
            REFRESH_AND_PORT,
            &[
                ("environment", Text, Optional),
                ("subscription_id", Text, Required),
                ("tenant_id", Text, Optional),
                ("client_id", Text, Optional),
                ("client_secret", Secret, Optional),
                ("authentication_method", Text, NotEmpty),
                ("resource_group", Text, Optional),
            ],
        ],
    },
    Kind {
        key: "consul_sd_configs",
        http: true,
        keys: &[&[
            ("refresh_interval", Duration, Optional),
            ("server", Text, NotEmpty),
            ("path_prefix", Text, Optional),
            ("token", Secret, Optional),
            ("datacenter", Text, Optional),
            ("namespace", Text, Optional),
            ("partition", Text, Optional),
            ("tag_separator", Text, Optional),
            ("scheme", Text, Optional),
            ("username", Text, Optional),
            ("password", Secret, Optional),
            ("allow_stale", Boolean, Optional),
            ("services", Texts, Optional),
            ("tags", Texts, Optional),
            ("node_meta", TextMap, Optional),
            ("filter", Text, Optional),
            ("health_filter", Text, Optional),
        ]],
    },
    Kind {
        key: "digitalocean_sd_configs",
        http: true,
        keys: &[REFRESH_AND_PORT, &[("role", Text, NotEmpty)]],
    },
    Kind {
        key: "dns_sd_configs",
        http: false,
        keys: &[REFRESH_AND_PORT, &[("names", Texts, Required), ("type", Text, Optional)]],
    },
    Kind {
        key: "docker_sd_configs",
        http: true,
        keys: &[
            REFRESH_AND_PORT,
            &[
                ("host", Url, Required),
                ("filters", Filters, Optional),
                ("host_networking_host", Text, Optional),
                ("match_first_network", Boolean, Optional),
            ],
        ],
    },
    Kind {
        key: "dockerswarm_sd_configs",
        http: true,
        keys: &[
            REFRESH_AND_PORT,
            &[("host", Url, Required), ("role", Text, Required), ("filters", Filters, Optional)],
        ],
    },
    Kind {
        key: "ec2_sd_configs",
        http: true,
        keys: &[REFRESH_AND_PORT, AWS, &[("filters", FilledFilters, Optional)]],
    },
    Kind { key: "ecs_sd_configs", http: true, keys: &[REFRESH_AND_PORT, AWS, AWS_CLUSTERS] },
    Kind { key: "elasticache_sd_configs", http: true, keys: &[REFRESH_AND_PORT, AWS, AWS_CLUSTERS] },
    Kind {
        key: "eureka_sd_configs",
        http: true,
        keys: &[&[("server", Server, Required), ("refresh_interval", Duration, Optional)]],
    },
    Kind {
        key: "gce_sd_configs",
        http: false,
        keys: &[
            REFRESH_AND_PORT,
            &[
                ("project", Text, Required),
                ("zone", Text, Required),
                ("filter", Text, Optional),
                ("tag_separator", Text, Optional),
            ],
        ],
    },
    Kind {
        key: "hetzner_sd_configs",
        http: true,
        keys: &[REFRESH_AND_PORT, &[("role", Text, Required), ("label_selector", Text, Optional)]],
    },
    Kind {
        key: "ionos_sd_configs",
        http: true,
        keys: &[REFRESH_AND_PORT, &[("datacenter_id", Text, Required)]],
    },
    Kind {
        key: "kuma_sd_configs",
        http: true,
        keys: &[&[
            ("server", Server, Required),
            ("client_id", Text, Optional),
            ("refresh_interval", Duration, Optional),
            ("fetch_timeout", Duration, Optional),
        ]],
    },
    Kind { key: "lightsail_sd_configs", http: true, keys: &[REFRESH_AND_PORT, AWS] },
    Kind {
        key: "linode_sd_configs",
        http: true,
        keys: &[REFRESH_AND_PORT, &[("tag_separator", Text, Optional), ("region", Text, Optional)]],
    },
    Kind {
        key: "marathon_sd_configs",
        http: true,
        keys: &[&[
            ("servers", Texts, Required),
            ("refresh_interval", Duration, Optional),
            ("auth_token", Secret, Optional),
            ("auth_token_file", Text, Optional),
        ]],
    },
    Kind { key: "msk_sd_configs", http: true, keys: &[REFRESH_AND_PORT, AWS, AWS_CLUSTERS] },
    Kind { key: "nerve_sd_configs", http: false, keys: &[ZOOKEEPER] },
    Kind {
        key: "nomad_sd_configs",
        http: true,
        keys: &[&[
            ("allow_stale", Boolean, Optional),
            ("namespace", Text, Optional),
            ("refresh_interval", Duration, Optional),
            ("region", Text, Optional),
            ("server", Text, NotEmpty),
            ("tag_separator", Text, Optional),
        ]],
    },
    Kind {
        key: "oci_sd_configs",
        http: true,
        keys: &[
            REFRESH_AND_PORT,
            &[
                ("auth", Text, Optional),
                ("tenancy", Text, Optional),
                ("user", Text, Optional),
                ("fingerprint", Text, Optional),
                ("key_file", Text, Optional),
                ("key_passphrase", Secret, Optional),
                ("key_passphrase_file", Text, Optional),
                ("region", Text, Required),
                ("compartments", Texts, Optional),
            ],
        ],
    },
    Kind {
        key: "openstack_sd_configs",
        http: false,
        keys: &[
            REFRESH_AND_PORT,
            &[
                ("identity_endpoint", Text, Optional),
                ("username", Text, Optional),
                ("userid", Text, Optional),
                ("password", Secret, Optional),
                ("project_name", Text, Optional),
                ("project_id", Text, Optional),
                ("domain_name", Text, Optional),
                ("domain_id", Text, Optional),
                ("application_credential_name", Text, Optional),
                ("application_credential_id", Text, Optional),
                ("application_credential_secret", Secret, Optional),
                ("role", Text, Required),
                ("region", Text, Required),
                ("all_tenants", Boolean, Optional),
                ("tls_config", Tls, Optional),
                ("availability", Text, NotEmpty),
            ],
        ],
    },
    Kind {
        key: "outscale_sd_configs",
        http: true,
        keys: &[
            REFRESH_AND_PORT,
            &[
                ("endpoint", Text, Optional),
                ("region", Text, NotEmpty),
                ("access_key", Text, Required),
                ("secret_key", Secret, Optional),
                ("secret_key_file", Text, Optional),
            ],
        ],
    },
    Kind {
        key: "ovhcloud_sd_configs",
        http: false,
        keys: &[&[
            ("endpoint", Text, NotEmpty),
            ("application_key", Text, Required),
            ("application_secret", Secret, Required),
            ("consumer_key", Secret, Required),
            ("refresh_interval", Duration, Optional),
            ("service", Text, Required),
        ]],
    },
    Kind {
        key: "puppetdb_sd_configs",
        http: true,
        keys: &[
            REFRESH_AND_PORT,
            &[
                ("url", Server, Required),
                ("query", Text, Required),
                ("include_parameters", Boolean, Optional),
            ],
        ],
    },
    Kind {
        key: "rds_sd_configs",
        http: true,
        keys: &[REFRESH_AND_PORT, AWS, AWS_CLUSTERS, &[("filters", Filters, Optional)]],
    },
    Kind {
        key: "scaleway_sd_configs",
        http: true,
        keys: &[
            REFRESH_AND_PORT,
            &[
                ("project_id", Text, Required),
                ("api_url", Url, NotEmpty),
                ("zone", Text, NotEmpty),
                ("access_key", Text, Required),
                ("secret_key", Secret, Optional),
                ("secret_key_file", Text, Optional),
                ("name_filter", Text, Optional),
                ("tags_filter", Texts, Optional),
                ("role", Text, Required),
            ],
        ],
    },
    Kind { key: "serverset_sd_configs", http: false, keys: &[ZOOKEEPER] },
    Kind {
        key: "stackit_sd_configs",
        http: true,
        keys: &[
            REFRESH_AND_PORT,
            &[
                ("project", Text, Optional),
                ("region", Text, Optional),
                ("endpoint", Url, Optional),
                ("service_account_key", Secret, Optional),
                ("private_key", Secret, Optional),
                ("service_account_key_path", Text, Optional),
                ("private_key_path", Text, Optional),
                ("credentials_file_path", Text, Optional),
            ],
        ],
    },
    Kind {
        key: "triton_sd_configs",
        http: false,
        keys: &[
            REFRESH_AND_PORT,
            &[
                ("account", Text, Required),
                ("role", Text, NotEmpty),
                ("dns_suffix", Text, Required),
                ("endpoint", Text, Required),
                ("groups", Texts, Optional),
                ("tls_config", Tls, Optional),
                ("version", Integer, Optional),
            ],
        ],
    },
    Kind {
        key: "uyuni_sd_configs",
        http: true,
        keys: &[&[
            ("server", Url, Required),
            ("username", Text, Required),
            ("password", Secret, Required),
            ("entitlement", Text, Optional),
            ("separator", Text, Optional),
            ("refresh_interval", Duration, Optional),
        ]],
    },
    Kind { key: "vultr_sd_configs", http: true, keys: &[REFRESH_AND_PORT] },
];

/// Keys that take one of a few words.
const CHOICES: &[(&str, &str, &[&str])] = &[
    ("aws_sd_configs", "role", &["ec2", "ecs", "elasticache", "lightsail", "msk", "rds"]),
    ("azure_sd_configs", "authentication_method", &["OAuth", "ManagedIdentity", "SDK", "WorkloadIdentity"]),
    ("digitalocean_sd_configs", "role", &["droplets", "databases"]),
    ("dockerswarm_sd_configs", "role", &["services", "tasks", "nodes"]),
    ("hetzner_sd_configs", "role", &["robot", "hcloud"]),
    ("oci_sd_configs", "auth", &["api_key", "instance_principal"]),
    ("openstack_sd_configs", "role", &["instance", "hypervisor", "loadbalancer"]),
    ("openstack_sd_configs", "availability", &["public", "internal", "admin"]),
    ("ovhcloud_sd_configs", "service", &["dedicated_server", "vps"]),
    ("scaleway_sd_configs", "role", &["instance", "baremetal"]),
    ("triton_sd_configs", "role", &["container", "cn"]),
];

/// The keys of all kinds.
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.key)
}

/// Checks one entry of the kind with this key; whether it is a mapping.
pub(super) fn check(key: &str, value: &Cursor<'_>, files: &Files<'_>) -> bool {
    let Some(section) = value.section() else { return false };
    let Some(kind) = KINDS.iter().find(|kind| kind.key == key) else { return false };
    let http_auth = match kind.http {
        true => http_client::read(&section, &HttpClientConfig::default(), files).auth_keys,
        false => Vec::new(),
    };
    for (name, expected, need) in kind.keys.iter().copied().flatten() {
        check_key(&section, name, *expected, *need, files);
    }
    for (_, name, words) in CHOICES.iter().filter(|(of, ..)| *of == key) {
        let chosen = section.get(name).filter(|value| value.text().is_some_and(|text| !text.is_empty()));
        if let Some(value) = chosen
            && value.text().is_some_and(|text| !words.contains(&text))
        {
            let fix = one_of_fix(value.text().unwrap_or(""), words);
            value.error(format!("{} is not a value of {name}", value.shown()), fix);
        }
    }
    check_further(key, &section, &http_auth);
    section.finish(&[]);
    true
}

fn check_key(section: &Section<'_>, name: &'static str, expected: Type, need: Need, files: &Files<'_>) {
    let value = section.get(name);
    let filled = value.as_ref().is_some_and(|value| match expected {
        Texts => !value.items().is_empty(),
        _ => value.node().text() != Some("") && !value.is_null(),
    });
    if !filled && (need == Required || (need == NotEmpty && value.is_some())) {
        section.error_at(name, format!("{name} is missing"), format!("add {name}"));
    }
    let Some(value) = value else { return };
    match expected {
        Text => drop(value.text()),
        Secret => drop(value.secret().text()),
        Url | Server if !filled => {}
        Url => drop(http_client::checked_url(&value)),
        Server => {
            let url = http_client::checked_url(&value);
            let parts = url.as_deref().and_then(|url| go_url::parse(url).ok());
            if parts.is_some_and(|url| url.scheme.is_empty() || url.host.is_empty()) {
                value.error("the URL has no scheme or no host", "write for example http://host:8080/path");
            }
        }
        Integer => drop(value.integer()),
        Boolean => drop(value.boolean()),
        Duration => drop(value.duration()),
        Texts => drop(value.texts()),
        TextMap => drop(value.text_map()),
        Filters | FilledFilters => filters(&value, expected == FilledFilters),
        Tls => drop(http_client::tls(&value, files)),
    }
}

fn filters(value: &Cursor<'_>, need_values: bool) {
    for entry in value.items() {
        let Some(filter) = entry.section() else { continue };
        filter.text("name");
        if filter.texts("values").is_empty() && need_values {
            filter.error_at("values", "the filter has no values", "add values, which is a list");
        }
        filter.finish(&[]);
    }
}

/// What one key means for another.
fn check_further(kind: &str, section: &Section<'_>, http_auth: &[&str]) {
    let text = |key| section.get(key).and_then(|value| value.secret().text()).unwrap_or("");
    let set = |key| !text(key).is_empty();
    let require = |keys: &[&'static str]| {
        for key in keys.iter().copied().filter(|key| !set(key)) {
            section.error_at(key, format!("{key} is missing"), format!("add {key}"));
        }
    };
    let at_most_one = |first: &'static str, second: &'static str| {
        if set(first) && set(second) {
            let fix = format!("keep {first} or {second}");
            section.error_at(second, format!("{first} and {second} are both set"), fix);
        }
    };
    match kind {
        "azure_sd_configs" if matches!(text("authentication_method"), "" | "OAuth") => {
            require(&["tenant_id", "client_id", "client_secret"]);
        }
        "consul_sd_configs" => {
            let conflict = |key: &str| match key {
                "basic_auth" => set("username") || set("password"),
                _ => set("token"),
            };
            if let Some(auth) = http_auth.iter().find(|key| conflict(key)) {
                let message = format!("{auth} is set beside token, username or password");
                section.cursor().error(message, "keep one way to authenticate");
            }
        }
        "dns_sd_configs" => dns(section, text("type")),
        "marathon_sd_configs" => {
            at_most_one("auth_token", "auth_token_file");
            let token = set("auth_token") || set("auth_token_file");
            if let Some(auth) = http_auth.iter().find(|key| token && **key != "oauth2") {
                let message = format!("{auth} is set beside auth_token or auth_token_file");
                section.cursor().error(message, "keep one way to authenticate");
            }
        }
        "nerve_sd_configs" | "serverset_sd_configs" => {
            for path in
                section.items("paths").iter().filter(|path| path.text().is_some_and(|p| !p.starts_with('/')))
            {
                path.error(format!("{} does not begin with /", path.shown()), "write the whole path");
            }
        }
        "oci_sd_configs" => oci(section, text("auth")),
        "outscale_sd_configs" | "scaleway_sd_configs" => {
            at_most_one("secret_key", "secret_key_file");
            if !set("secret_key") && !set("secret_key_file") {
                section.error_at("secret_key", "secret_key is missing", "add secret_key or secret_key_file");
            }
            if kind == "scaleway_sd_configs" {
                scaleway(section);
            }
        }
        "puppetdb_sd_configs" => {
            let url = go_url::parse(text("url")).ok();
            if url.is_some_and(|url| !url.scheme.is_empty() && !matches!(&*url.scheme, "http" | "https")) {
                section.error_at(
                    "url",
                    "the URL's scheme must be http or https",
                    "write for example http://puppetdb:8080",
                );
            }
        }
        "stackit_sd_configs" => {
            let no_region = section.has("region") && !set("region");
            if no_region && !set("endpoint") {
                section.error_at("region", "region and endpoint are both missing", "add one of them");
            }
        }
        "triton_sd_configs" => positive_interval(section),
        _ => {}
    }
}

/// Formats that Scaleway's client checks when it is made.
fn scaleway(section: &Section<'_>) {
    let check = |key: &'static str, is_valid: &dyn Fn(&str) -> bool, fix: &str| {
        let text = section.get(key).and_then(|value| value.secret().text()).unwrap_or("");
        if !text.is_empty() && !is_valid(text) {
            section.error_at(key, format!("not a {key}"), fix);
        }
    };
    let upper = |text: &str| text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    let access_key = |text: &str| text.len() == 20 && text.starts_with("SCW") && upper(text);
    let uuid = |text: &str| text.len() == 36 && is_uuid(text);
    check("access_key", &access_key, "write SCW and 17 upper-case letters or digits");
    check("secret_key", &uuid, "write a UUID");
    check("project_id", &uuid, "write a UUID");
    check("zone", &is_scaleway_zone, "write for example fr-par-1");
}

/// `^[a-z]{2}-[a-z]{3,7}-[0-9]{1,2}$`
fn is_scaleway_zone(text: &str) -> bool {
    let letters = |part: &str| part.bytes().all(|byte| byte.is_ascii_lowercase());
    let parts: Vec<&str> = text.split('-').collect();
    let [country, city, number] = parts[..] else { return false };
    country.len() == 2
        && letters(country)
        && (3..=7).contains(&city.len())
        && letters(city)
        && (1..=2).contains(&number.len())
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

fn positive_interval(section: &Section<'_>) {
    if section.duration("refresh_interval").is_some_and(|interval| interval.is_zero()) {
        section.error_at("refresh_interval", "the interval must be positive", "write for example 60s");
    }
}

fn dns(section: &Section<'_>, record: &str) {
    let port = section.get("port").and_then(|value| value.integer()).unwrap_or(0);
    match record.to_uppercase().as_str() {
        "SRV" => {}
        "" if !section.has("type") => {}
        "A" | "AAAA" | "MX" | "NS" if port != 0 => {}
        "A" | "AAAA" | "MX" | "NS" => {
            section.error_at("port", "port is missing", "add port: only SRV records hold one");
        }
        _ => section.error_at("type", "not a record type", "write SRV, A, AAAA, MX or NS"),
    }
}

fn oci(section: &Section<'_>, auth: &str) {
    let keys = ["tenancy", "user", "fingerprint", "key_file", "key_passphrase", "key_passphrase_file"];
    let set = |key| {
        section.get(key).is_some_and(|value| value.secret().text().is_some_and(|text| !text.is_empty()))
    };
    match auth {
        "instance_principal" => {
            for key in keys.into_iter().filter(|key| set(key)) {
                section.error_at(key, "this has no meaning with instance_principal", "remove it");
            }
        }
        "" if section.has("auth") => {
            section.error_at("auth", "auth is empty", "write api_key or instance_principal");
        }
        "" | "api_key" => {
            for key in keys.into_iter().take(4).filter(|key| !set(key)) {
                section.error_at(
                    key,
                    format!("{key} is missing"),
                    format!("add {key}, or auth: instance_principal"),
                );
            }
            if set("key_passphrase") && set("key_passphrase_file") {
                let message = "key_passphrase and key_passphrase_file are both set";
                section.error_at("key_passphrase_file", message, "keep one of the two");
            }
        }
        _ => {}
    }
    for compartment in section.items("compartments").iter().filter(|item| item.text() == Some("")) {
        compartment.error("the compartment is empty", "remove the entry");
    }
    positive_interval(section);
}
