/* The load: a WebSocket client of many connections, compiled, so that it is never what limits a measurement.
 *
 *   load echo       every connection keeps `inflight` messages under way to a server that echoes
 *   load broadcast  every connection is a member, the first one publishes; again when all have heard it
 *   load churn      `connections` at a time connect, echo once, close, and begin again
 *   load idle       every connection echoes once, then is silent until standard input ends
 *   load serve      an echo server, to measure the ceiling of the above, and to measure clients against
 *
 * One thread and epoll. The frames are masked once, at the start; what a connection may send leaves in one write. Of
 * the answers every header is parsed and every byte of content compared, unless they are compressed. The result is one
 * JSON object on standard output. Everything is on the loopback interface, and ends by itself.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#endif

#define OPENING_AT_ONCE 64      /* listeners have backlogs of 100 and more */
#define SOURCE_ADDRESSES 64     /* 127.0.1.1 and up: one address has 28,000 ports, and churn leaves them waiting */
#define READ_SIZE (256 * 1024)
#define BATCH_SIZE (256 * 1024) /* of prepared frames, unless one is longer */
#define HEAD_SIZE 4096
#define KEY "dGhlIHNhbXBsZSBub25jZQ==" /* the example of RFC 6455, section 1.3, and its answer */
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

enum mode { ECHO, BROADCAST, CHURN, IDLE, SERVE };
enum state { UNUSED, CONNECTING, SECURING, ASKING, OPEN, CLOSING };

struct connection {
    int fd;
    enum state state;
    uint32_t interest;
    void *ssl;
    char *answer; /* the HTTP answer as far as it has come */
    size_t answered;
    uint8_t head[14]; /* of the frame that is being read */
    unsigned gathered;
    int in_payload;
    uint64_t left, at; /* bytes to come of the frame, bytes seen of the message */
    uint8_t control[125];
    uint64_t owed; /* bytes that may be sent, of the endless row of prepared frames */
    uint64_t phase;
    uint64_t *sent; /* when each message under way was sent, a ring */
    unsigned first, under_way;
    uint64_t began;
};

/* What the command line says. */
static enum mode mode;
static const char *path = "/", *extensions = NULL, *payload_file = NULL;
static int port, secure, binary, server_pid;
static unsigned connections = 1, inflight = 1, talking;
static uint64_t size = 32;
static double warmup = 0.2, seconds = 1.0;

static struct connection *table;
static int poller;
static uint8_t *payload, *frames;
static uint64_t frame_size, batch_size;
static uint8_t close_frame[8] = {0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xe8 ^ 2};
static char request[2048];
static uint8_t *scratch;
static unsigned opened, opening, next_to_open, echoed, address;
static uint64_t now;

static int measuring;
static int spinning;   /* ask for events all the time instead of sleeping: a server need not wake us */
static int may_spin;
static uint64_t asked; /* nanoseconds that were spent on asking when there was nothing */
static uint64_t messages, bytes, errors, published, heard;
static char sample[2 * 4096 + 1];

static void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static void *allocate(size_t count, size_t each)
{
    void *memory = calloc(count ? count : 1, each);
    if (!memory)
        die("out of memory");
    return memory;
}

static uint64_t clock_of(clockid_t id)
{
    struct timespec time;
    if (clock_gettime(id, &time))
        return 0;
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* --- latencies: a histogram whose buckets are 1/128 of their value wide ------------------------------------------ */

#define FINE 7
static uint64_t histogram[(64 - FINE) << FINE], slowest;

static void record(uint64_t nanoseconds)
{
    unsigned exponent = 0;
    if (nanoseconds >> (FINE + 1))
        exponent = 63 - FINE - (unsigned)__builtin_clzll(nanoseconds);
    histogram[(exponent << FINE) + (nanoseconds >> exponent)]++;
    if (nanoseconds > slowest)
        slowest = nanoseconds;
}

static double percentile(double share)
{
    uint64_t total = 0, seen = 0;
    for (size_t i = 0; i < sizeof histogram / sizeof *histogram; i++)
        total += histogram[i];
    for (size_t i = 0; i < sizeof histogram / sizeof *histogram; i++) {
        seen += histogram[i];
        if (histogram[i] && (double)seen >= share * (double)total) {
            unsigned exponent = i >> FINE ? (unsigned)(i >> FINE) - 1 : 0;
            return (double)((uint64_t)(i - ((uint64_t)exponent << FINE)) << exponent) / 1e3;
        }
    }
    return 0;
}

/* --- the server's CPU time ---------------------------------------------------------------------------------------- */

struct cost {
    uint64_t load, server; /* nanoseconds */
    double user, system;   /* seconds, of the server, in ticks of the kernel */
};

static struct cost cost(void)
{
    struct cost cost = {clock_of(CLOCK_PROCESS_CPUTIME_ID) - asked, 0, 0, 0};
    clockid_t id;
    if (!server_pid)
        return cost;
    if (!clock_getcpuclockid(server_pid, &id))
        cost.server = clock_of(id);
    char name[64], line[1024];
    snprintf(name, sizeof name, "/proc/%d/stat", server_pid);
    FILE *file = fopen(name, "r");
    if (file) {
        unsigned long user = 0, system = 0;
        char *rest = fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
        if (rest)
            sscanf(rest + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
        cost.user = (double)user / (double)sysconf(_SC_CLK_TCK);
        cost.system = (double)system / (double)sysconf(_SC_CLK_TCK);
        fclose(file);
    }
    return cost;
}

/* --- frames ------------------------------------------------------------------------------------------------------- */

static uint64_t put_head(uint8_t *to, uint8_t first, uint64_t length, int masked)
{
    uint8_t mask = masked ? 0x80 : 0;
    to[0] = first;
    if (length < 126) {
        to[1] = mask | (uint8_t)length;
        return 2;
    }
    unsigned count = length < 65536 ? 2 : 8;
    to[1] = mask | (count == 2 ? 126 : 127);
    for (unsigned i = 0; i < count; i++)
        to[2 + i] = (uint8_t)(length >> (8 * (count - 1 - i)));
    return 2 + count;
}

static void read_payload(void)
{
    FILE *file = fopen(payload_file, "rb");
    if (!file)
        die("cannot read %s", payload_file);
    fseek(file, 0, SEEK_END);
    size = (uint64_t)ftell(file);
    rewind(file);
    payload = allocate(size, 1);
    if (fread(payload, 1, size, file) != size)
        die("cannot read %s", payload_file);
    fclose(file);
}

/* Prepare as many masked frames in a row as one write may hold, two at least: one may be sent while one is ready. */
static void prepare(void)
{
    static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};
    if (payload_file)
        read_payload();
    else {
        payload = allocate(size, 1);
        for (uint64_t i = 0; i < size; i++)
            payload[i] = (uint8_t)(' ' + i * 7 % 95);
    }
    uint8_t *frame = allocate(size + 14, 1);
    uint8_t first = (uint8_t)(0x80 | (binary ? 2 : 1) | (payload_file ? 0x40 : 0));
    uint64_t head = put_head(frame, first, size, 1);
    memcpy(frame + head, key, 4);
    head += 4;
    for (uint64_t i = 0; i < size; i++)
        frame[head + i] = payload[i] ^ key[i & 3];
    frame_size = head + size;
    uint64_t count = BATCH_SIZE / frame_size;
    count = count < 1 ? 1 : count > 1024 ? 1024 : count;
    batch_size = count * frame_size;
    frames = allocate(batch_size, 1);
    for (uint64_t i = 0; i < count; i++)
        memcpy(frames + i * frame_size, frame, frame_size);
    free(frame);
    snprintf(request, sizeof request,
             "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n%s%s%s\r\n",
             path, port, extensions ? "Sec-WebSocket-Extensions: " : "", extensions ? extensions : "",
             extensions ? "\r\n" : "");
}

/* --- bytes on a connection: -1 is "not now", 0 the end ------------------------------------------------------------- */

#ifdef WITH_TLS
static SSL_CTX *tls;

static void prepare_tls(void)
{
    tls = SSL_CTX_new(TLS_client_method());
    if (!tls)
        die("no TLS");
    SSL_CTX_set_verify(tls, SSL_VERIFY_NONE, NULL); /* the harness made the certificate a moment ago */
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

static ssize_t tls_result(struct connection *c, int result)
{
    int why = SSL_get_error(c->ssl, result);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return -1;
    return 0;
}
#endif

static ssize_t get_bytes(struct connection *c, void *to, size_t room)
{
#ifdef WITH_TLS
    if (secure) {
        ERR_clear_error();
        int got = SSL_read(c->ssl, to, (int)room);
        return got > 0 ? got : tls_result(c, got);
    }
#endif
    ssize_t got = recv(c->fd, to, room, 0);
    return got >= 0 ? got : errno == EAGAIN ? -1 : 0;
}

static ssize_t put_bytes(struct connection *c, const void *from, size_t count)
{
#ifdef WITH_TLS
    if (secure) {
        ERR_clear_error();
        int put = SSL_write(c->ssl, from, (int)count);
        return put > 0 ? put : tls_result(c, put);
    }
#endif
    ssize_t put = send(c->fd, from, count, MSG_NOSIGNAL);
    return put >= 0 ? put : errno == EAGAIN ? -1 : 0;
}

static void want(struct connection *c, uint32_t interest)
{
    if (c->interest == interest)
        return;
    struct epoll_event event = {.events = interest, .data.ptr = c};
    epoll_ctl(poller, c->interest ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &event);
    c->interest = interest;
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static void begin(struct connection *c)
{
    uint64_t *ring = c->sent;
    char *answer = c->answer ? c->answer : allocate(HEAD_SIZE + 1, 1);
    memset(c, 0, sizeof *c);
    c->sent = ring ? ring : allocate(inflight, sizeof *ring);
    c->answer = answer;
    c->began = clock_of(CLOCK_MONOTONIC);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket: %s; is the limit of open files high enough?", strerror(errno));
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    struct sockaddr_in source = {.sin_family = AF_INET};
    source.sin_addr.s_addr = htonl(0x7f000101u + address++ % SOURCE_ADDRESSES);
    if (bind(c->fd, (struct sockaddr *)&source, sizeof source))
        die("bind: %s", strerror(errno));
    struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(c->fd, (struct sockaddr *)&target, sizeof target) && errno != EINPROGRESS)
        die("connect: %s", strerror(errno));
    c->state = CONNECTING;
    opening++;
    want(c, EPOLLOUT);
}

static void ask(struct connection *c)
{
    c->state = ASKING;
    size_t length = strlen(request);
    if (put_bytes(c, request, length) != (ssize_t)length)
        die("the request was not taken in one piece");
    want(c, EPOLLIN);
}

static void secure_it(struct connection *c)
{
#ifdef WITH_TLS
    ERR_clear_error();
    int result = SSL_connect(c->ssl);
    if (result == 1)
        ask(c);
    else {
        int why = SSL_get_error(c->ssl, result);
        if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
            die("TLS handshake failed");
        want(c, why == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT);
    }
#else
    (void)c;
#endif
}

static void connected(struct connection *c)
{
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error)
        die("connect: %s", strerror(error));
#ifdef WITH_TLS
    if (secure) {
        c->ssl = SSL_new(tls);
        SSL_set_fd(c->ssl, c->fd);
        c->state = SECURING;
        secure_it(c);
        return;
    }
#endif
    ask(c);
}

static void end(struct connection *c)
{
#ifdef WITH_TLS
    if (c->ssl)
        SSL_free(c->ssl);
#endif
    close(c->fd);
    c->state = UNUSED;
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

static void flush(struct connection *c)
{
    while (c->owed) {
        uint64_t piece = batch_size - c->phase;
        if (piece > c->owed)
            piece = c->owed;
        ssize_t put = put_bytes(c, frames + c->phase, piece);
        if (put == 0)
            die("the server is gone");
        if (put < 0)
            break;
        c->owed -= (uint64_t)put;
        c->phase = (c->phase + (uint64_t)put) % batch_size;
    }
    want(c, c->owed ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void send_frames(struct connection *c, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        c->sent[(c->first + c->under_way) % inflight] = now;
        c->under_way++;
    }
    c->owed += count * frame_size;
    flush(c);
}

/* --- receiving ---------------------------------------------------------------------------------------------------- */

static unsigned due; /* messages that the connection at hand may send */

static void heard_message(struct connection *c)
{
    bytes += c->at;
    if (!payload_file && c->at != size)
        die("a message of %llu bytes came back with %llu", (unsigned long long)size, (unsigned long long)c->at);
    c->at = 0;
    if (mode == BROADCAST) {
        heard++;
        messages += (unsigned)measuring;
        return;
    }
    if (!c->under_way)
        die("a message that was not sent came back");
    if (mode == ECHO) {
        if (measuring) {
            messages++;
            record(now - c->sent[c->first]);
        }
        due++;
    }
    c->first = (c->first + 1) % inflight;
    c->under_way--;
    if (mode == CHURN) {
        if (put_bytes(c, close_frame, sizeof close_frame) != sizeof close_frame)
            errors++;
        c->state = CLOSING;
    }
    echoed++;
}

static void answer_ping(struct connection *c, unsigned length)
{
    /* Skipped between two halves of a frame: peers do not time out while messages arrive. */
    uint8_t pong[131] = {0x8a, (uint8_t)(0x80 | length)};
    memcpy(pong + 6, c->control, length);
    if (!c->owed && put_bytes(c, pong, length + 6) != (ssize_t)length + 6)
        errors++;
}

/* Handle the end of a frame. Return 1 if the connection has ended with it. */
static int end_of_frame(struct connection *c)
{
    uint8_t opcode = c->head[0] & 15, length = c->head[1] & 127;
    int final = c->head[0] & 0x80;
    c->gathered = 0;
    c->in_payload = 0;
    if (opcode < 8) {
        if (final)
            heard_message(c);
        return 0;
    }
    if (opcode == 9)
        answer_ping(c, length);
    if (opcode != 8)
        return 0;
    if (c->state != CLOSING)
        die("the server closed a connection with %d", length < 2 ? 1005 : c->control[0] << 8 | c->control[1]);
    end(c);
    if (measuring) {
        messages++;
        record(now - c->began);
    }
    return 1;
}

static void check_content(struct connection *c, const uint8_t *data, uint64_t count)
{
    if (c->head[0] & 8) {
        uint64_t length = c->head[1] & 127;
        memcpy(c->control + (length - c->left), data, count);
        return;
    }
    if (!payload_file) {
        if (c->at + count > size || memcmp(data, payload + c->at, count))
            die("what came back is not what was sent");
    } else if (!*sample && count == c->left && count <= 4096)
        for (uint64_t i = 0; i < count; i++)
            sprintf(sample + 2 * i, "%02x", data[i]);
    c->at += count;
}

static unsigned head_size(const struct connection *c)
{
    unsigned length = c->gathered < 2 ? 0 : c->head[1] & 127;
    return length < 126 ? 2 : length == 126 ? 4 : 10;
}

static void take_head(struct connection *c)
{
    uint8_t opcode = c->head[0] & 15;
    if (c->head[1] & 0x80)
        die("a server's frame is masked");
    if (c->head[0] & (payload_file ? 0x30 : 0x70) || (opcode > 2 && opcode < 8) || opcode > 10)
        die("not a frame: it begins with %02x", c->head[0]);
    unsigned count = head_size(c);
    c->left = 0;
    if (count == 2)
        c->left = c->head[1] & 127;
    for (unsigned i = 2; i < count; i++)
        c->left = c->left << 8 | c->head[i];
    if (opcode >= 8 && c->left > 125)
        die("a control frame of %llu bytes", (unsigned long long)c->left);
    c->in_payload = 1;
}

static void parse(struct connection *c, const uint8_t *data, uint64_t count)
{
    while (count || (c->in_payload && !c->left)) {
        if (!c->in_payload) {
            while (count && c->gathered < head_size(c)) {
                c->head[c->gathered++] = *data++;
                count--;
            }
            if (c->gathered < head_size(c) || c->gathered < 2)
                return;
            take_head(c);
        }
        uint64_t piece = count < c->left ? count : c->left;
        if (piece) {
            check_content(c, data, piece);
            data += piece;
            count -= piece;
            c->left -= piece;
        }
        if (!c->left && end_of_frame(c))
            return;
    }
}

static void is_open(struct connection *c)
{
    c->state = OPEN;
    opening--;
    opened++;
    if (mode == CHURN || mode == IDLE) {
        now = clock_of(CLOCK_MONOTONIC);
        send_frames(c, 1);
    }
}

static void read_answer(struct connection *c)
{
    ssize_t got = get_bytes(c, c->answer + c->answered, HEAD_SIZE - c->answered);
    if (got == 0)
        die("the server closed a connection in the handshake");
    if (got < 0)
        return;
    c->answered += (size_t)got;
    c->answer[c->answered] = 0;
    char *after = strstr(c->answer, "\r\n\r\n");
    if (!after) {
        if (c->answered == HEAD_SIZE)
            die("the answer to the handshake is too long");
        return;
    }
    if (strncmp(c->answer, "HTTP/1.1 101", 12))
        die("the handshake was answered %.*s", (int)strcspn(c->answer, "\r"), c->answer);
    if (!strstr(c->answer, ACCEPT))
        die("the answer has not the right Sec-WebSocket-Accept");
    int deflate = strcasestr(c->answer, "permessage-deflate") != NULL;
    if (deflate != (extensions != NULL))
        die(deflate ? "permessage-deflate, unasked" : "the server does not take permessage-deflate");
    after += 4;
    is_open(c);
    parse(c, (uint8_t *)after, c->answered - (size_t)(after - c->answer));
}

static void readable(struct connection *c)
{
    for (;;) {
        ssize_t got = get_bytes(c, scratch, READ_SIZE);
        if (got == 0 && c->state == CLOSING) {
            errors++; /* it went without a close frame */
            end(c);
            return;
        }
        if (got == 0)
            die("the server ended a connection without a close frame");
        if (got < 0)
            return;
        now = clock_of(CLOCK_MONOTONIC);
        due = 0;
        parse(c, scratch, (uint64_t)got);
        if (due)
            send_frames(c, due);
        if (!secure || c->state == UNUSED) /* what TLS has decrypted, epoll does not tell of */
            return;
    }
}

static void handle(struct connection *c, uint32_t events)
{
    switch (c->state) {
    case CONNECTING:
        connected(c);
        break;
    case SECURING:
        secure_it(c);
        break;
    case ASKING:
        read_answer(c);
        break;
    case OPEN:
    case CLOSING:
        if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            readable(c);
        if (c->state == OPEN && c->owed && events & EPOLLOUT)
            flush(c);
        break;
    case UNUSED:
        break;
    }
    if (c->state == UNUSED && mode == CHURN)
        begin(c);
}

static void turn(void)
{
    struct epoll_event events[512];
    while (next_to_open < connections && opening < OPENING_AT_ONCE)
        begin(&table[next_to_open++]);
    uint64_t before = spinning ? clock_of(CLOCK_MONOTONIC) : 0;
    int count = epoll_wait(poller, events, 512, spinning ? 0 : 50);
    if (spinning && !count)
        asked += clock_of(CLOCK_MONOTONIC) - before;
    for (int i = 0; i < count; i++)
        handle(events[i].data.ptr, events[i].events);
}

/* --- the modes ---------------------------------------------------------------------------------------------------- */

static void publish(void)
{
    if (heard < published * connections)
        return;
    now = clock_of(CLOCK_MONOTONIC);
    if (published && measuring)
        record(now - table[0].sent[0]);
    table[0].under_way = 0;
    published++;
    send_frames(&table[0], 1);
}

/* A measurement goes on until there is something to measure: on a busy machine nothing may come back in a short time.
   What is reported is the time that it has really taken; the alarm of `--limit` ends it if there never is anything. */
static void run_for(double time)
{
    uint64_t until = clock_of(CLOCK_MONOTONIC) + (uint64_t)(time * 1e9);
    while (clock_of(CLOCK_MONOTONIC) < until || (measuring && !messages)) {
        if (mode == BROADCAST)
            publish();
        turn();
    }
}

static void print_result(double taken, struct cost before, struct cost after)
{
    putchar('{');
    if (*sample)
        printf("\"sample\": \"%s\", ", sample);
    printf("\"connections\": %u, \"messages\": %llu, \"seconds\": %.6f, \"bytes\": %llu, \"errors\": %llu, ", connections,
           (unsigned long long)messages, taken, (unsigned long long)bytes, (unsigned long long)errors);
    printf("\"latency\": {\"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"max\": %.1f}, ", percentile(0.5),
           percentile(0.9), percentile(0.99), (double)slowest / 1e3);
    printf("\"load_cpu\": %.6f, \"server_cpu\": %.6f, \"server_user\": %.2f, \"server_system\": %.2f}\n",
           (double)(after.load - before.load) / 1e9, (double)(after.server - before.server) / 1e9,
           after.user - before.user, after.system - before.system);
}

static void measure(void)
{
    while (mode != CHURN && opened < connections)
        turn();
    now = clock_of(CLOCK_MONOTONIC);
    if (mode == ECHO)
        for (unsigned i = 0; i < talking; i++)
            send_frames(&table[i], inflight);
    spinning = may_spin;
    run_for(warmup);
    bytes = 0;
    measuring = 1;
    struct cost before = cost();
    uint64_t start = clock_of(CLOCK_MONOTONIC);
    run_for(seconds);
    uint64_t stop = clock_of(CLOCK_MONOTONIC);
    print_result((double)(stop - start) / 1e9, before, cost());
}

static void idle(void)
{
    while (echoed < connections)
        turn();
    puts("ready");
    fflush(stdout);
    struct pollfd input = {.fd = 0, .events = POLLIN};
    while (!poll(&input, 1, 0))
        turn();
}

/* --- the server of our own ---------------------------------------------------------------------------------------- */

static uint32_t rotate(uint32_t x, int by)
{
    return x << by | x >> (32 - by);
}

/* SHA-1 (FIPS 180-4) of less than 120 bytes, which is all that a handshake needs. */
static void sha1(const uint8_t *data, size_t length, uint8_t *digest)
{
    static const uint32_t k[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint8_t padded[128] = {0};
    size_t blocks = length < 56 ? 1 : 2;
    memcpy(padded, data, length);
    padded[length] = 0x80;
    padded[blocks * 64 - 2] = (uint8_t)(length * 8 >> 8);
    padded[blocks * 64 - 1] = (uint8_t)(length * 8);
    for (size_t block = 0; block < blocks; block++) {
        uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
        for (int i = 0; i < 16; i++)
            w[i] = ntohl(((uint32_t *)(void *)padded)[block * 16 + (size_t)i]);
        for (int i = 16; i < 80; i++)
            w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        for (int i = 0; i < 80; i++) {
            uint32_t f = i < 20 ? (b & c) | (~b & d) : i >= 40 && i < 60 ? (b & c) | (b & d) | (c & d) : b ^ c ^ d;
            uint32_t next = rotate(a, 5) + f + e + k[i / 20] + w[i];
            e = d, d = c, c = rotate(b, 30), b = a, a = next;
        }
        h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
    }
    for (int i = 0; i < 20; i++)
        digest[i] = (uint8_t)(h[i / 4] >> (24 - i % 4 * 8));
}

static void accept_key(const char *key, char *to)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char text[64];
    uint8_t digest[21] = {0};
    snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    sha1((uint8_t *)text, strlen(text), digest);
    for (int i = 0; i < 21; i += 3) {
        uint32_t three = (uint32_t)digest[i] << 16 | (uint32_t)digest[i + 1] << 8 | digest[i + 2];
        for (int j = 0; j < 4; j++)
            *to++ = digits[three >> (18 - 6 * j) & 63];
    }
    to[-1] = '=';
    *to = 0;
}

struct client {
    int fd, open;
    uint8_t *data;
    size_t count, room;
};

static uint8_t *answers;
static size_t answer_count, answer_room;

static void forget(struct client *client)
{
    close(client->fd);
    free(client->data);
    free(client);
}

static int send_all(int fd, const uint8_t *data, size_t count)
{
    while (count) {
        ssize_t put = send(fd, data, count, MSG_NOSIGNAL);
        if (put > 0) {
            data += put;
            count -= (size_t)put;
        } else if (errno == EAGAIN) {
            struct pollfd writable = {.fd = fd, .events = POLLOUT};
            if (poll(&writable, 1, 5000) != 1)
                return 0;
        } else
            return 0;
    }
    return 1;
}

/* Answer the handshake at the beginning of the data; return its length, 0 if it is incomplete. */
static size_t shake_hands(struct client *client)
{
    char *head = (char *)client->data, key[32];
    char *after = memmem(head, client->count, "\r\n\r\n", 4);
    if (!after)
        return 0;
    *after = 0;
    char *at = strcasestr(head, "Sec-WebSocket-Key:");
    if (!at)
        return 0;
    at += strlen("Sec-WebSocket-Key:");
    accept_key(at + strspn(at, " "), key);
    answer_count = (size_t)snprintf((char *)answers, answer_room,
                                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                    "Sec-WebSocket-Accept: %s\r\n\r\n",
                                    key);
    client->open = 1;
    return (size_t)(after + 4 - head);
}

/* Put the answer to the frame at `data` to the others; return its length, 0 if it is incomplete. */
static size_t answer_frame(uint8_t *data, size_t count)
{
    if (count < 6)
        return 0;
    uint64_t length = data[1] & 127;
    unsigned head = length < 126 ? 2 : length == 126 ? 4 : 10;
    if (count < head + 4u)
        return 0;
    if (head > 2)
        length = 0;
    for (unsigned i = 2; i < head; i++)
        length = length << 8 | data[i];
    if (count < head + 4 + length)
        return 0;
    if (answer_count + length + 10 > answer_room) {
        answer_room = 2 * (answer_count + length + 10);
        answers = realloc(answers, answer_room);
        if (!answers)
            die("out of memory");
    }
    uint8_t opcode = data[0] & 15, *key = data + head, *from = key + 4, *to = answers + answer_count;
    to += put_head(to, opcode == 9 ? (data[0] & 0xf0) | 10 : data[0], length, 0);
    for (uint64_t i = 0; i < length; i++)
        to[i] = from[i] ^ key[i & 3];
    if (opcode != 10)
        answer_count = (size_t)(to + length - answers);
    return head + 4 + length;
}

static int serve_client(struct client *client)
{
    if (client->room - client->count < READ_SIZE) {
        client->room = 2 * client->room + READ_SIZE;
        client->data = realloc(client->data, client->room);
        if (!client->data)
            die("out of memory");
    }
    ssize_t got = recv(client->fd, client->data + client->count, client->room - client->count, 0);
    if (got <= 0)
        return got < 0 && errno == EAGAIN;
    client->count += (size_t)got;
    size_t done = 0, length = 1;
    int closing = 0;
    answer_count = 0;
    if (!client->open)
        done = length = shake_hands(client);
    while (client->open && length && !closing) {
        closing = client->count - done >= 2 && (client->data[done] & 15) == 8;
        length = answer_frame(client->data + done, client->count - done);
        closing = closing && length;
        done += length;
    }
    memmove(client->data, client->data + done, client->count - done);
    client->count -= done;
    return send_all(client->fd, answers, answer_count) && !closing;
}

static void serve(void)
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t length = sizeof here;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&here, length) || listen(listener, 4096))
        die("cannot listen: %s", strerror(errno));
    getsockname(listener, (struct sockaddr *)&here, &length);
    printf("%d\n", ntohs(here.sin_port));
    fflush(stdout);
    answers = allocate(answer_room = 4 * READ_SIZE, 1);
    struct epoll_event events[512], event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(poller, events, 512, -1);
        for (int i = 0; i < count; i++) {
            struct client *client = events[i].data.ptr;
            if (client && !serve_client(client))
                forget(client);
            int fd;
            while (!client && (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                struct client *fresh = allocate(1, sizeof *fresh);
                fresh->fd = fd;
                event.data.ptr = fresh;
                epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
            }
        }
    }
}

/* --- the command line --------------------------------------------------------------------------------------------- */

static enum mode mode_of(const char *name)
{
    static const char *const names[] = {"echo", "broadcast", "churn", "idle", "serve"};
    for (int i = 0; i < 5; i++)
        if (!strcmp(name, names[i]))
            return (enum mode)i;
    die("no such mode: %s", name);
    return ECHO;
}

static void take_option(const char *name, const char *value, unsigned *limit)
{
    if (!strcmp(name, "--port"))
        port = atoi(value);
    else if (!strcmp(name, "--path"))
        path = value;
    else if (!strcmp(name, "--connections"))
        connections = (unsigned)atoi(value);
    else if (!strcmp(name, "--talking"))
        talking = (unsigned)atoi(value);
    else if (!strcmp(name, "--inflight"))
        inflight = (unsigned)atoi(value);
    else if (!strcmp(name, "--size"))
        size = strtoull(value, NULL, 10);
    else if (!strcmp(name, "--seconds"))
        seconds = atof(value);
    else if (!strcmp(name, "--warmup"))
        warmup = atof(value);
    else if (!strcmp(name, "--pid"))
        server_pid = atoi(value);
    else if (!strcmp(name, "--kind"))
        binary = !strcmp(value, "binary");
    else if (!strcmp(name, "--extensions"))
        extensions = value;
    else if (!strcmp(name, "--payload"))
        payload_file = value;
    else if (!strcmp(name, "--tls"))
        secure = !strcmp(value, "yes");
    else if (!strcmp(name, "--spin"))
        may_spin = !strcmp(value, "yes");
    else if (!strcmp(name, "--limit"))
        *limit = (unsigned)atoi(value);
    else
        die("no such option: %s", name);
}

int main(int count, char **arguments)
{
    unsigned limit = 120; /* seconds that the whole may take, then SIGALRM ends it */
    if (count < 2 || count % 2)
        die("usage: load echo|broadcast|churn|idle|serve [--option value]...");
    mode = mode_of(arguments[1]);
    for (int i = 2; i + 1 < count; i += 2)
        take_option(arguments[i], arguments[i + 1], &limit);
    if (!connections || !inflight || !size)
        die("there must be at least one connection, one message in flight and one byte");
    if (!talking || talking > connections)
        talking = connections;
    alarm(limit);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* who started us may be killed before it can end us */
#ifdef WITH_TLS
    if (secure)
        prepare_tls();
#else
    if (secure)
        die("built without TLS: the headers of OpenSSL were not there");
#endif
    poller = epoll_create1(EPOLL_CLOEXEC);
    scratch = allocate(READ_SIZE, 1);
    if (mode == SERVE)
        serve();
    table = allocate(connections, sizeof *table);
    prepare();
    if (mode == IDLE)
        idle();
    else
        measure();
    return 0;
}
