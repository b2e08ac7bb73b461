#include "cluster/nats_link.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <thread>
#include <utility>
#include <vector>

#include <tandem/detail/deadline.hpp>
#include <tandem/error.hpp>

#include "core/log.hpp"

namespace tandem::detail {
namespace {

using std::chrono::milliseconds;

// A round trip that takes longer has lost its server; also what one attempt to connect may take.
constexpr std::int64_t kRequestMs = 2000;
// A server that answers none of two pings, in this rhythm, is lost: a link that is cut says nothing.
constexpr std::int64_t kPingMs = 3000;
// What takes longer to be written ends the connection: while the library writes it holds a lock that all else waits
// for, and counts no pings. For 4 MiB that is 7 Mbit/s.
constexpr std::int64_t kWriteMs = 5000;
constexpr std::int64_t kReconnectMs = 100;
constexpr milliseconds kConnectPause{100};

// Throws for what the library refuses. Its texts name files and servers, no secrets: it is not told of any in a text.
void check_nats(natsStatus status, const std::string& what) {
  if (status == NATS_OK) return;
  const char* more = nats_GetLastError(nullptr);
  const std::string reason = more != nullptr && *more != '\0' ? fmt::format(" ({})", more) : std::string();
  throw EngineError(fmt::format("{}: {}{}", what, natsStatus_GetText(status), reason));
}

// The library has the whole process ignore SIGPIPE, and with it all programs that are started from here. A handler that
// does nothing protects its writes as well, and is nobody's but this process's. What the program itself has set stays.
//
// A process that is forked off later has the library's state and none of its threads: who waits for one of them waits
// for ever.
void open_library() {
  static const pid_t owner = ::getpid();
  if (::getpid() != owner)
    throw StateError(
        "a cluster cannot be used in a process that was forked off one which has used a cluster before: the threads of "
        "the library of NATS are not there; start it by forkserver or by spawn");
  static const natsStatus opened = [] {
    struct sigaction action{};
    const bool known = ::sigaction(SIGPIPE, nullptr, &action) == 0;
    const natsStatus status = nats_Open(-1);
    if (!known) return status;
    if ((action.sa_flags & SA_SIGINFO) == 0 && action.sa_handler == SIG_DFL) {
      action.sa_handler = [](int) {};
      action.sa_flags = SA_RESTART;
    }
    ::sigaction(SIGPIPE, &action, nullptr);
    return status;
  }();
  check_nats(opened, "cannot open the library of NATS");
}

// Whether a handshake failed because one side did not accept the other's certificate; a busy server also ends one by
// closing the connection, which says nothing of the next. The library has one status for both and tells them apart in
// its text only: ":depth=" stands behind what OpenSSL found in the server's certificate, the others are what the server
// may say of this side's.
bool is_about_a_certificate(std::string_view error) {
  return error.find(":depth=") != std::string_view::npos || error.find("certificate") != std::string_view::npos ||
         error.find("unknown ca") != std::string_view::npos;
}

// Of the attempt to connect that this thread has just made.
bool is_refusal(natsStatus status) {
  if (status == NATS_SSL_ERROR) {
    const char* const error = nats_GetLastError(nullptr);
    return error != nullptr && is_about_a_certificate(error);
  }
  return status == NATS_CONNECTION_AUTH_FAILED || status == NATS_NOT_PERMITTED ||
         status == NATS_SECURE_CONNECTION_REQUIRED || status == NATS_SECURE_CONNECTION_WANTED ||
         status == NATS_INVALID_ARG;
}

void set_credentials(natsOptions* to, const EngineOptions& options) {
  // The library's own texts for these are fixed; still, none of them is repeated.
  if (!options.token.empty() && natsOptions_SetToken(to, options.token.c_str()) != NATS_OK)
    throw EngineError("cannot use the token for the engine");
  if (!options.user.empty() && natsOptions_SetUserInfo(to, options.user.c_str(), options.password.c_str()) != NATS_OK)
    throw EngineError("cannot use the user and password for the engine");
}

// Agents on other machines may get the text itself, where there is no file. There may be something in front of it; what
// is taken for the name of a file stands in errors.
bool is_pem(const std::string& text) {
  return text.find("-----BEGIN") != std::string::npos || text.find('\n') != std::string::npos;
}

void set_tls(natsOptions* to, const EngineTls& tls) {
  check_nats(natsOptions_SetSecure(to, true), "cannot use TLS");
  if (is_pem(tls.ca_file))
    check_nats(natsOptions_SetCATrustedCertificates(to, tls.ca_file.c_str()),
               "cannot use the CA that was given as text");
  else if (!tls.ca_file.empty())
    check_nats(natsOptions_LoadCATrustedCertificates(to, tls.ca_file.c_str()), "cannot use the CA " + tls.ca_file);
  if (is_pem(tls.certificate_file)) {
    if (!is_pem(tls.key_file))
      throw EngineError("the key for a certificate that is given as text must be given as text, too");
    check_nats(natsOptions_SetCertificatesChain(to, tls.certificate_file.c_str(), tls.key_file.c_str()),
               "cannot use the certificate that was given as text");
  } else if (!tls.certificate_file.empty()) {
    if (is_pem(tls.key_file)) throw EngineError("the key for a certificate in a file must be in a file, too");
    check_nats(natsOptions_LoadCertificatesChain(to, tls.certificate_file.c_str(), tls.key_file.c_str()),
               "cannot use the certificate " + tls.certificate_file);
  }
}

// The default handler of the library prints to the standard error of the program.
void on_error(natsConnection*, natsSubscription*, natsStatus status, void*) {
  log_line(LogLevel::Debug, "NATS: {}", natsStatus_GetText(status));
}

NatsOwner<natsOptions> make_options(const EngineOptions& options, const std::vector<EngineServer>& servers,
                                    const std::string& name) {
  open_library();
  natsOptions* made = nullptr;
  check_nats(natsOptions_Create(&made), "cannot make options for NATS");
  NatsOwner<natsOptions> owner(made);
  std::vector<std::string> texts;
  std::vector<const char*> urls;
  for (const EngineServer& server : servers) texts.push_back(server.text());
  for (const std::string& text : texts) urls.push_back(text.c_str());
  const auto set = [](natsStatus status) { check_nats(status, "cannot set an option of NATS"); };
  set(natsOptions_SetServers(made, urls.data(), static_cast<int>(urls.size())));
  set(natsOptions_SetName(made, name.c_str()));
  set(natsOptions_SetTimeout(made, kRequestMs));
  set(natsOptions_SetPingInterval(made, kPingMs));
  set(natsOptions_SetMaxPingsOut(made, 2));
  set(natsOptions_SetWriteDeadline(made, kWriteMs));
  set(natsOptions_SetAllowReconnect(made, true));
  set(natsOptions_SetMaxReconnect(made, -1));
  set(natsOptions_SetReconnectWait(made, kReconnectMs));
  set(natsOptions_SetReconnectJitter(made, kReconnectMs, kReconnectMs));
  // A request that waits in a lost connection fails with it instead of at its time limit.
  set(natsOptions_SetFailRequestsOnDisconnect(made, true));
  // Sent by the caller, not by a thread that gathers for a moment.
  set(natsOptions_SetSendAsap(made, true));
  // Servers that a server names have not been checked as those of the url have: credentials might go to one without
  // TLS.
  set(natsOptions_SetIgnoreDiscoveredServers(made, true));
  set(natsOptions_SetErrorHandler(made, on_error, nullptr));
  set_credentials(made, options);
  if (options.tls) set_tls(made, *options.tls);
  return owner;
}

}  // namespace

std::span<const std::byte> payload_of(const natsMsg* message) noexcept {
  return {reinterpret_cast<const std::byte*>(natsMsg_GetData(message)),
          static_cast<std::size_t>(natsMsg_GetDataLength(message))};
}

std::string_view header_of(natsMsg* message, const char* name) noexcept {
  const char* value = nullptr;
  if (natsMsgHeader_Get(message, name, &value) != NATS_OK || value == nullptr) return {};
  return value;
}

int status_of(natsMsg* message) noexcept {
  if (natsMsg_GetDataLength(message) != 0) return 0;
  const std::string_view text = header_of(message, "Status");
  int status = 0;
  std::from_chars(text.data(), text.data() + text.size(), status);
  return status;
}

struct NatsLink::Watch {
  Callbacks callbacks;
  mutable Mutex mutex;
  mutable ConditionVariable changed;
  EngineState state TANDEM_GUARDED_BY(mutex) = EngineState::Connected;
  // Of the server that this side is, or was, connected to: to ask the library may take as long as it writes.
  std::atomic<std::int64_t> max_payload{0};

  void become(EngineState next) {
    const MutexGuard guard(mutex);
    state = next;
    changed.notify_all();
  }
  static void on_lost(natsConnection*, void* self) {
    static_cast<Watch*>(self)->become(EngineState::Away);
    if (static_cast<Watch*>(self)->callbacks.lost) static_cast<Watch*>(self)->callbacks.lost();
  }
  static void on_found(natsConnection* connection, void* self) {
    static_cast<Watch*>(self)->max_payload = natsConnection_GetMaxPayload(connection);
    static_cast<Watch*>(self)->become(EngineState::Connected);
    if (static_cast<Watch*>(self)->callbacks.found_again) static_cast<Watch*>(self)->callbacks.found_again();
  }
  static void on_closed(natsConnection*, void* self) {
    // The callback first: when the state is told, this object may go.
    if (static_cast<Watch*>(self)->callbacks.closed) static_cast<Watch*>(self)->callbacks.closed();
    static_cast<Watch*>(self)->become(EngineState::Refused);
  }
};

NatsLink::NatsLink(const EngineOptions& options, const std::vector<EngineServer>& servers, const std::string& name,
                   Callbacks callbacks)
    : watch_(std::make_unique<Watch>()) {
  check_engine_options(options, servers);
  watch_->callbacks = std::move(callbacks);
  const NatsOwner<natsOptions> made = make_options(options, servers, name);
  check_nats(natsOptions_SetDisconnectedCB(made.get(), Watch::on_lost, watch_.get()), "cannot set an option of NATS");
  check_nats(natsOptions_SetReconnectedCB(made.get(), Watch::on_found, watch_.get()), "cannot set an option of NATS");
  check_nats(natsOptions_SetClosedCB(made.get(), Watch::on_closed, watch_.get()), "cannot set an option of NATS");
  const Deadline deadline = Deadline::after(options.connect_wait);
  for (;;) {
    const natsStatus status = natsConnection_Connect(&connection_, made.get());
    if (status == NATS_OK) break;
    if (is_refusal(status)) check_nats(status, "the engine " + options.url + " refuses this program");
    if (deadline.passed()) check_nats(status, "cannot reach the engine " + options.url);
    std::this_thread::sleep_for(std::min<Deadline::Clock::duration>(kConnectPause, deadline.left(kConnectPause)));
  }
  watch_->max_payload = natsConnection_GetMaxPayload(connection_);
  jsOptions js{};
  jsCtx* context = nullptr;
  natsStatus status = jsOptions_Init(&js);
  js.Wait = kRequestMs;
  if (status == NATS_OK) status = natsConnection_JetStream(&context, connection_, &js);
  if (status == NATS_OK) {
    requests_.reset(context);
    return;
  }
  natsConnection_Close(connection_);
  natsConnection_Destroy(connection_);
  // The library may still call back: what it calls stays.
  static_cast<void>(watch_.release());
  check_nats(status, "cannot use JetStream");
}

NatsLink::~NatsLink() {
  requests_.reset();
  natsConnection_Close(connection_);
  {
    const MutexGuard guard(watch_->mutex);
    while (watch_->state != EngineState::Refused) watch_->changed.wait(watch_->mutex);
  }
  {
    const MutexGuard guard(mutex_);
    for (natsSubscription* subscription : buried_) natsSubscription_Destroy(subscription);
  }
  natsConnection_Destroy(connection_);
}

void NatsLink::bury(natsSubscription* subscription) const {
  const MutexGuard guard(mutex_);
  buried_.push_back(subscription);
}

EngineState NatsLink::state() const {
  const MutexGuard guard(watch_->mutex);
  return watch_->state;
}

bool NatsLink::wait_connected(milliseconds patience) const {
  const Deadline deadline = Deadline::after(patience);
  const MutexGuard guard(watch_->mutex);
  while (watch_->state == EngineState::Away && !deadline.passed())
    watch_->changed.wait_for(watch_->mutex, deadline.left(std::chrono::seconds(10)));
  return watch_->state == EngineState::Connected;
}

std::size_t NatsLink::max_payload_bytes() const {
  // Room for the headers of a message, which count too.
  constexpr std::int64_t kHeaders = 4096;
  return static_cast<std::size_t>(std::max<std::int64_t>(watch_->max_payload - kHeaders, 1024));
}

std::string NatsLink::make_inbox() const {
  natsInbox* made = nullptr;
  check_nats(natsInbox_Create(&made), "cannot make an inbox");
  std::string inbox = made;
  natsInbox_Destroy(made);
  return inbox;
}

bool NatsLink::publish(const std::string& subject, std::string_view text) const noexcept {
  return state() == EngineState::Connected &&
         natsConnection_Publish(connection_, subject.c_str(), text.data(), static_cast<int>(text.size())) == NATS_OK;
}

bool NatsLink::publish(const std::string& subject, const std::string& reply, std::string_view text) const noexcept {
  return state() == EngineState::Connected &&
         natsConnection_PublishRequest(connection_, subject.c_str(), reply.c_str(), text.data(),
                                       static_cast<int>(text.size())) == NATS_OK;
}

bool NatsLink::publish(natsMsg* message) const noexcept {
  return message != nullptr && state() == EngineState::Connected &&
         natsConnection_PublishMsg(connection_, message) == NATS_OK;
}

NatsSubscription::NatsSubscription(const NatsLink& link, const std::string& subject, bool unlimited, Take take)
    : link_(link), take_(std::move(take)) {
  check_nats(natsConnection_Subscribe(&subscription_, link.get(), subject.c_str(), on_message, this),
             "cannot subscribe to " + subject);
  // Refused only if the connection was closed meanwhile, which ended the subscription before its first message.
  if (natsSubscription_SetOnCompleteCB(subscription_, on_complete, this) != NATS_OK) on_complete(this);
  if (unlimited) static_cast<void>(natsSubscription_SetPendingLimits(subscription_, -1, -1));
}

NatsSubscription::~NatsSubscription() {
  // The library's thread may be in a callback; it says when it has made the last one. A connection that the library
  // closed by itself has ended its subscriptions before.
  static_cast<void>(natsSubscription_Unsubscribe(subscription_));
  {
    const MutexGuard guard(mutex_);
    while (!complete_) changed_.wait(mutex_);
  }
  link_.bury(subscription_);
}

void NatsSubscription::on_message(natsConnection*, natsSubscription*, natsMsg* message, void* self) {
  NatsMessage owned(message);
  // The library is C: nothing may pass through it. What is not acknowledged comes again.
  try {
    static_cast<NatsSubscription*>(self)->take_(std::move(owned));
  } catch (const std::exception& error) {
    log_line(LogLevel::Error, "a message of the engine is left for later: {}", error.what());
  } catch (...) {
    log_line(LogLevel::Error, "a message of the engine is left for later");
  }
}

void NatsSubscription::on_complete(void* self) {
  auto* subscription = static_cast<NatsSubscription*>(self);
  const MutexGuard guard(subscription->mutex_);
  subscription->complete_ = true;
  subscription->changed_.notify_all();
}

}  // namespace tandem::detail
