/*
 * Plays cases of package bench with OpenSSL 3.0 or later, in memory. What its
 * arguments, input and output are, package bench/beside says.
 *
 * Time is CPU time of the process. There is one thread, and the ends of a
 * connection run in turn.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

enum { CLIENT, SERVER };
enum { HANDSHAKE, WRITE, READ };

#define RECORD 16384

/* How much is written before it is read, as in bench/bulk.go. */
#define BATCH ((1 << 20) / (RECORD + 22))

/* What a BIO pair holds each way, in handshakes and for a batch. */
#define FLIGHTS (17 * 1024)
#define BATCH_BYTES (BATCH * (RECORD + 64))

#define NAME "bench.example"

/* In TLS 1.2 the list is for certificates as well. The first one is chosen. */
#define GROUPS12 "X25519:P-256"

#define AES12 "ECDHE-ECDSA-AES128-GCM-SHA256"
#define AES13 "TLS_AES_128_GCM_SHA256"
#define CHACHA13 "TLS_CHACHA20_POLY1305_SHA256"

struct kind {
	const char *name;
	int what, version;
	const char *group, *cipher;
	int mutual, resume;
};

static const struct kind kinds[] = {
	{"HS13Full/x25519-p256", HANDSHAKE, TLS1_3_VERSION, "X25519", AES13, 0, 0},
	{"HS13Full/mlkem768-p256", HANDSHAKE, TLS1_3_VERSION, "X25519MLKEM768", AES13, 0, 0},
	{"HS13Full/p256-p256", HANDSHAKE, TLS1_3_VERSION, "P-256", AES13, 0, 0},
	{"HS13Mutual/x25519-p256", HANDSHAKE, TLS1_3_VERSION, "X25519", AES13, 1, 0},
	{"HS13Resume/x25519", HANDSHAKE, TLS1_3_VERSION, "X25519", AES13, 0, 1},
	{"HS13Resume/mlkem768", HANDSHAKE, TLS1_3_VERSION, "X25519MLKEM768", AES13, 0, 1},
	{"HS12Full/x25519-p256", HANDSHAKE, TLS1_2_VERSION, GROUPS12, AES12, 0, 0},
	{"HS12Mutual/x25519-p256", HANDSHAKE, TLS1_2_VERSION, GROUPS12, AES12, 1, 0},
	{"HS12Resume", HANDSHAKE, TLS1_2_VERSION, GROUPS12, AES12, 0, 1},
	{"BulkWrite16K/13-aes128", WRITE, TLS1_3_VERSION, "X25519", AES13, 0, 0},
	{"BulkRead16K/13-aes128", READ, TLS1_3_VERSION, "X25519", AES13, 0, 0},
	{"BulkWrite16K/13-chacha20", WRITE, TLS1_3_VERSION, "X25519", CHACHA13, 0, 0},
	{"BulkRead16K/13-chacha20", READ, TLS1_3_VERSION, "X25519", CHACHA13, 0, 0},
	{"BulkWrite16K/12-aes128", WRITE, TLS1_2_VERSION, GROUPS12, AES12, 0, 0},
	{"BulkRead16K/12-aes128", READ, TLS1_2_VERSION, GROUPS12, AES12, 0, 0},
};

#define KINDS (sizeof kinds / sizeof kinds[0])

/* player is a kind with what playing it needs. */
struct player {
	SSL_CTX *ctx[2];
	SSL_SESSION *session; /* the client's, where sessions are resumed */
	SSL *conn[2];         /* where records are what is measured */
};

/* meter has the time that each end took. */
struct meter {
	double last, spent[2];
};

static void fail(const char *what)
{
	const char *why = ERR_reason_error_string(ERR_peek_last_error());

	printf("error %s%s%s\n", what, why ? ": " : "", why ? why : "");
	fflush(stdout);
	exit(1);
}

static void must(int ok, const char *what)
{
	if (!ok)
		fail(what);
}

static double cpu_ns(void)
{
	struct timespec t;

	must(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0, "clock_gettime");
	return t.tv_sec * 1e9 + t.tv_nsec;
}

/* charge charges an end with the time since the last call. */
static void charge(struct meter *m, int side)
{
	double now;

	if (m == NULL)
		return;
	now = cpu_ns();
	m->spent[side] += now - m->last;
	m->last = now;
}

/* skip charges nobody. */
static void skip(struct meter *m)
{
	if (m != NULL)
		m->last = cpu_ns();
}

static void set_suites(SSL_CTX *ctx, const struct kind *k)
{
	if (k->version == TLS1_3_VERSION)
		must(SSL_CTX_set_ciphersuites(ctx, k->cipher), "SSL_CTX_set_ciphersuites");
	else
		must(SSL_CTX_set_cipher_list(ctx, k->cipher), "SSL_CTX_set_cipher_list");
	must(SSL_CTX_set_min_proto_version(ctx, k->version), "SSL_CTX_set_min_proto_version");
	must(SSL_CTX_set_max_proto_version(ctx, k->version), "SSL_CTX_set_max_proto_version");
}

/* set_sessions has one ticket sent where sessions are resumed, else none. */
static void set_sessions(SSL_CTX *ctx, const struct kind *k)
{
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	if (!k->resume)
		SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
	must(SSL_CTX_set_num_tickets(ctx, k->resume ? 1 : 0), "SSL_CTX_set_num_tickets");
	must(SSL_CTX_set_session_id_context(ctx, (const unsigned char *)NAME, strlen(NAME)), "SSL_CTX_set_session_id_context");
}

/* set_trust has an end show its certificate, and verify the other one's. */
static void set_trust(SSL_CTX *ctx, int shows, int verifies, char **files)
{
	if (shows) {
		must(SSL_CTX_use_certificate_chain_file(ctx, files[0]), "SSL_CTX_use_certificate_chain_file");
		must(SSL_CTX_use_PrivateKey_file(ctx, files[1], SSL_FILETYPE_PEM), "SSL_CTX_use_PrivateKey_file");
	}
	if (verifies) {
		must(SSL_CTX_load_verify_file(ctx, files[2]), "SSL_CTX_load_verify_file");
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	}
}

/* open_player reports whether this OpenSSL has what the kind needs. */
static int open_player(struct player *p, const struct kind *k, char **files)
{
	int side;

	for (side = CLIENT; side <= SERVER; side++) {
		SSL_CTX *ctx = SSL_CTX_new(side == CLIENT ? TLS_client_method() : TLS_server_method());

		must(ctx != NULL, "SSL_CTX_new");
		p->ctx[side] = ctx;
		if (!SSL_CTX_set1_groups_list(ctx, k->group)) {
			ERR_clear_error();
			return 0;
		}
		set_suites(ctx, k);
		set_sessions(ctx, k);
		set_trust(ctx, side == SERVER || k->mutual, side == CLIENT || k->mutual, files);
	}
	if (k->mutual)
		SSL_CTX_set_client_CA_list(p->ctx[SERVER], SSL_load_client_CA_file(files[2]));
	return 1;
}

static void close_player(struct player *p)
{
	int side;

	for (side = CLIENT; side <= SERVER; side++) {
		SSL_free(p->conn[side]);
		SSL_CTX_free(p->ctx[side]);
	}
	SSL_SESSION_free(p->session);
}

static void connect_ends(struct player *p, SSL *conn[2], size_t room, struct meter *m)
{
	BIO *bio[2];

	must(BIO_new_bio_pair(&bio[CLIENT], room, &bio[SERVER], room), "BIO_new_bio_pair");
	skip(m);
	must((conn[CLIENT] = SSL_new(p->ctx[CLIENT])) != NULL, "SSL_new");
	SSL_set_bio(conn[CLIENT], bio[CLIENT], bio[CLIENT]);
	SSL_set_connect_state(conn[CLIENT]);
	must(SSL_set_tlsext_host_name(conn[CLIENT], NAME), "SSL_set_tlsext_host_name");
	must(SSL_set1_host(conn[CLIENT], NAME), "SSL_set1_host");
	if (p->session != NULL)
		must(SSL_set_session(conn[CLIENT], p->session), "SSL_set_session");
	charge(m, CLIENT);
	must((conn[SERVER] = SSL_new(p->ctx[SERVER])) != NULL, "SSL_new");
	SSL_set_bio(conn[SERVER], bio[SERVER], bio[SERVER]);
	SSL_set_accept_state(conn[SERVER]);
	charge(m, SERVER);
}

/* shake does the handshake, an end at a time. */
static void shake(SSL *conn[2], struct meter *m)
{
	int done[2] = {0, 0}, turns, side;

	for (turns = 0; !done[CLIENT] || !done[SERVER]; turns++) {
		side = turns % 2;
		must(turns < 20, "both ends wait for each other");
		if (!done[side]) {
			int r = SSL_do_handshake(conn[side]);

			done[side] = r == 1;
			if (r != 1 && SSL_get_error(conn[side], r) != SSL_ERROR_WANT_READ)
				fail(side == CLIENT ? "client's handshake" : "server's handshake");
			charge(m, side);
		}
	}
}

/* check fails if the handshake was not what the kind says. */
static void check(const struct kind *k, SSL *conn[2], int resumed)
{
	must(SSL_version(conn[CLIENT]) == k->version, "another version");
	must(SSL_session_reused(conn[CLIENT]) == resumed, resumed ? "not resumed" : "resumed");
	must(SSL_get0_peer_certificate(conn[CLIENT]) != NULL && SSL_get_verify_result(conn[CLIENT]) == X509_V_OK, "server not verified");
	if (k->mutual)
		must(SSL_get0_peer_certificate(conn[SERVER]) != NULL && SSL_get_verify_result(conn[SERVER]) == X509_V_OK, "client not verified");
}

/* discard frees an end. Without a word that it was closed in order, its session
 * could not be resumed. */
static void discard(SSL *conn)
{
	SSL_set_shutdown(conn, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(conn);
}

/* handshake does what bench/handshake.go does: a handshake, and a byte from the
 * server to the client, which brings a ticket along. */
static void handshake(struct player *p, const struct kind *k, struct meter *m)
{
	SSL *conn[2];
	char byte = 1;
	int resumed = p->session != NULL;

	skip(m);
	connect_ends(p, conn, FLIGHTS, m);
	shake(conn, m);
	must(SSL_write(conn[SERVER], &byte, 1) == 1, "SSL_write");
	charge(m, SERVER);
	must(SSL_read(conn[CLIENT], &byte, 1) == 1, "SSL_read");
	if (k->resume) {
		SSL_SESSION_free(p->session);
		must((p->session = SSL_get1_session(conn[CLIENT])) != NULL, "no session");
	}
	charge(m, CLIENT);
	check(k, conn, resumed);
	skip(m);
	discard(conn[CLIENT]);
	charge(m, CLIENT);
	discard(conn[SERVER]);
	charge(m, SERVER);
}

/* play_handshakes measures both ends together without asking for the time in
 * between, and then each end alone over a quarter as many more. */
static void play_handshakes(struct player *p, const struct kind *k, long n)
{
	struct meter m = {0, {0, 0}};
	long i, apart = n / 4 + 1;
	double took;

	if (k->resume && p->session == NULL)
		handshake(p, k, NULL);
	took = cpu_ns();
	for (i = 0; i < n; i++)
		handshake(p, k, NULL);
	took = cpu_ns() - took;
	for (i = 0; i < apart; i++)
		handshake(p, k, &m);
	printf("%.1f cpu-ns/op %.1f client-cpu-ns/op %.1f server-cpu-ns/op\n", took / n, m.spent[CLIENT] / apart, m.spent[SERVER] / apart);
}

/* establish makes the connection that records are sent by, once. Where the
 * server writes, it then does so to a BIO that discards everything. */
static void establish(struct player *p, const struct kind *k)
{
	if (p->conn[CLIENT] != NULL)
		return;
	connect_ends(p, p->conn, BATCH_BYTES, NULL);
	shake(p->conn, NULL);
	check(k, p->conn, 0);
	if (k->what == WRITE) {
		BIO *sink = BIO_new(BIO_s_null());

		must(sink != NULL, "BIO_new");
		SSL_set0_wbio(p->conn[SERVER], sink);
	}
}

static void write_records(SSL *conn, long n)
{
	static const char record[RECORD] = {1};

	for (; n > 0; n--)
		must(SSL_write(conn, record, RECORD) == RECORD, "SSL_write");
}

static void read_records(SSL *conn, long n)
{
	static char record[RECORD];

	for (; n > 0; n--)
		must(SSL_read(conn, record, RECORD) == RECORD, "SSL_read");
}

static void play_writes(struct player *p, long n)
{
	double took = cpu_ns();

	write_records(p->conn[SERVER], n);
	printf("%.1f cpu-ns/op\n", (cpu_ns() - took) / n);
}

static void play_reads(struct player *p, long n)
{
	double took = 0, start;
	long left, batch;

	for (left = n; left > 0; left -= batch) {
		batch = left < BATCH ? left : BATCH;
		write_records(p->conn[CLIENT], batch);
		start = cpu_ns();
		read_records(p->conn[SERVER], batch);
		took += cpu_ns() - start;
	}
	printf("%.1f cpu-ns/op\n", took / n);
}

static void play(struct player *p, const struct kind *k, long n)
{
	must(n > 0, "no operations");
	switch (k->what) {
	case HANDSHAKE:
		play_handshakes(p, k, n);
		break;
	case WRITE:
		establish(p, k);
		play_writes(p, n);
		break;
	case READ:
		establish(p, k);
		play_reads(p, n);
		break;
	}
	fflush(stdout);
}

/* obey plays what a line of the input says. */
static void obey(struct player *players, const int *can, char *line)
{
	char *space = strchr(line, ' ');
	size_t i;

	must(space != NULL, "no number");
	*space = 0;
	for (i = 0; i < KINDS; i++)
		if (can[i] && strcmp(kinds[i].name, line) == 0) {
			play(&players[i], &kinds[i], strtol(space + 1, NULL, 10));
			return;
		}
	fail("no such case");
}

int main(int argc, char **argv)
{
	static struct player players[KINDS];
	int can[KINDS];
	char line[256];
	size_t i;

	must(argc == 4, "arguments: CERTIFICATE KEY ROOT");
	must(OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL), "OPENSSL_init_ssl");
	printf("version %s\n", OpenSSL_version(OPENSSL_VERSION));
	for (i = 0; i < KINDS; i++) {
		can[i] = open_player(&players[i], &kinds[i], argv + 1);
		if (can[i])
			printf("can %s\n", kinds[i].name);
		else
			printf("cannot %s it has no group %s\n", kinds[i].name, kinds[i].group);
	}
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin) != NULL)
		obey(players, can, line);
	for (i = 0; i < KINDS; i++)
		close_player(&players[i]);
	return 0;
}
