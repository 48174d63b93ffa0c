//! The API's port: it follows the fleet file and the operator's word, and the supervisor goes on.

use std::net::TcpListener;

use crate::fleet::{Fleet, NO_SPARE};
use crate::http::{free_address, over_port, over_socket};
use crate::process::wait_until;

/// Where the supervisor says that it is reached.
fn origins(fleet: &Fleet) -> Vec<String> {
    let me = over_socket(&fleet.path(".slate/api.sock"), "/api/v1/whoami").json();
    let listen = me["listen"].as_array().expect("a list");
    listen.iter().map(|it| it.as_str().expect("an origin").to_owned()).collect()
}

fn answers(address: &str) -> bool {
    over_port(address, "localhost", "/healthz").is_some_and(|answer| answer.status == 200)
}

fn wait_until_free(address: &str) {
    wait_until("nobody listens there any more", || TcpListener::bind(address).is_ok());
}

/// The fleet file with these keys of the API.
fn with_api(fleet: &Fleet, keys: &str) {
    fleet.edit(&format!("api: {{{keys}}}\n{NO_SPARE}"));
}

#[test]
fn the_port_follows_the_fleet_file_and_an_address_that_is_taken_changes_nothing() {
    let fleet = Fleet::up(NO_SPARE);
    let supervisor = fleet.read(".slate/supervisor.lock");
    assert_eq!(origins(&fleet), Vec::<String>::new());
    let [first, second] = [free_address(), free_address()];
    with_api(&fleet, &format!("listen: '{first}'"));
    fleet.cli(&["up", "-d"]).ok();
    assert!(answers(&first));
    with_api(&fleet, &format!("listen: '{second}'"));
    fleet.cli(&["up", "-d"]).ok();
    assert!(answers(&second));
    wait_until_free(&first);

    let somebody = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = somebody.local_addr().expect("its address");
    fleet.edit(&format!(
        "api: {{listen: '{taken}'}}\npools: [{{name: light, profile: light, count: 3}}]\n"
    ));
    let refused = fleet.cli(&["up", "-d"]);
    let told = refused.err();
    assert!(told.contains(&format!("cannot listen on {taken}: Address already in use")), "{told}");
    assert_ne!(refused.code, 0);
    assert_eq!(fleet.runners().len(), 1, "refused whole");
    assert!(answers(&second));

    let names = vec!["localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    fleet.write("cert.pem", made.cert.pem());
    fleet.write("key.pem", made.signing_key.serialize_pem());
    with_api(&fleet, &format!("listen: '{second}', tls: {{cert: ./cert.pem, key: ./key.pem}}"));
    fleet.cli(&["up", "-d"]).ok();
    assert_eq!(origins(&fleet), [format!("https://{second}")]);
    wait_until("it speaks TLS only", || !answers(&second));

    fleet.edit(NO_SPARE);
    fleet.cli(&["up", "-d"]).ok();
    assert_eq!(origins(&fleet), Vec::<String>::new());
    wait_until_free(&second);
    assert_eq!(fleet.read(".slate/supervisor.lock"), supervisor, "the same all the time");
}

#[test]
fn an_address_given_by_hand_stays_until_another_is_given() {
    let fleet = Fleet::up(NO_SPARE);
    let [by_hand, in_file, other] = [free_address(), free_address(), free_address()];
    fleet.cli(&["up", "-d", "--listen", &by_hand]).ok();
    with_api(&fleet, &format!("listen: '{in_file}'"));
    fleet.cli(&["up", "-d"]).ok();
    assert_eq!(origins(&fleet), [format!("http://{by_hand}")]);
    assert!(answers(&by_hand) && !answers(&in_file));
    fleet.cli(&["up", "-d", "--listen", &other]).ok();
    let page = fleet.cli(&["dashboard", "--print"]).ok().word();
    assert!(page.starts_with(&format!("http://{other}/#token=")), "{page}");
    wait_until_free(&by_hand);
}
