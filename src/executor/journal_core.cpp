#include <tandem/detail/journal_core.hpp>

#include <openssl/evp.h>

#include <algorithm>
#include <exception>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include <tandem/journal.hpp>
#include <tandem/thread.hpp>

#include "core/blocking.hpp"
#include "core/check.hpp"
#include "core/demangle.hpp"
#include "core/mutex.hpp"
#include "executor/journal_store.hpp"
#include "thread/body_name.hpp"
#include "wire/code_address.hpp"
#include "wire/modules.hpp"

namespace tandem::detail {

Fingerprint digest_of(std::span<const std::byte> bytes) noexcept {
  std::array<std::byte, EVP_MAX_MD_SIZE> digest;
  const int done = EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(digest.data()), nullptr,
                              EVP_sha256(), nullptr);
  TANDEM_CHECK(done == 1, done, bytes.size());
  Fingerprint fingerprint;
  std::copy_n(digest.begin(), fingerprint.size(), fingerprint.begin());
  return fingerprint;
}

std::string to_text(const Fingerprint& fingerprint) {
  std::string text;
  for (const std::byte byte : fingerprint)
    fmt::format_to(std::back_inserter(text), "{:02x}", std::to_integer<unsigned>(byte));
  return text;
}

JournalIdentity journal_identity(const void* anchor, const void* function, const std::type_info& type,
                                 const std::string& version) {
  JournalIdentity identity;
  if (function != nullptr) identity.function = function_name(function);
  if (identity.function.empty()) identity.function = demangle(type.name());
  if (!version.empty()) {
    identity.code = "version " + version;
    return identity;
  }
  const CodeAddress here = code_address_of(anchor);
  identity.code = fmt::format("build {} at {:x}", to_text(here.build_id), here.offset);
  if (function != nullptr) {
    const CodeAddress there = code_address_of(function);
    if (there.build_id != here.build_id) identity.code += " calling build " + to_text(there.build_id);
    identity.code += fmt::format(" calling {:x}", there.offset);
  }
  return identity;
}

struct JournalCore::Inside {
  struct Ended {
    std::uint64_t id;
    std::unique_ptr<JournalEntries> entries;
  };

  Inside(std::filesystem::path file, const JournalIdentity& identity)
      : store(std::make_unique<JournalStore>(std::move(file), identity)), name(store->name()) {
    if (const std::optional<std::uint64_t> last = store->last()) recorded_end = *last + 1;
  }

  /// What the thread does.
  void write_all() {
    Encoder encoder(Encoder::Purpose::Stranger);
    for (std::vector<Ended> batch = next_batch(); !batch.empty(); batch = next_batch()) {
      try {
        write(batch, encoder);
      } catch (...) {
        MutexGuard guard(mutex);
        error = std::current_exception();
        changed.notify_all();
        return;
      }
    }
  }
  /// All that has ended since the last one: they share one wait for the disk. Empty once closed.
  std::vector<Ended> next_batch() TANDEM_NO_THREAD_SAFETY_ANALYSIS {
    std::unique_lock lock(mutex);
    while (to_write.empty() && !closed) changed.wait(lock);
    return std::exchange(to_write, {});
  }
  void write(std::vector<Ended>& batch, Encoder& encoder) {
    std::vector<std::uint64_t> ids;
    {
      MutexGuard guard(store_mutex);
      try {
        store->begin();
        for (Ended& ended : batch) {
          write(*ended.entries, encoder);
          ids.push_back(ended.id);
          ended.entries.reset();  // Before its results are given to the reader, so that nobody else refers to them.
        }
        store->commit();
      } catch (...) {
        store->roll_back();
        throw;
      }
    }
    MutexGuard guard(mutex);
    written.insert(written.end(), ids.begin(), ids.end());
    changed.notify_all();
  }
  void write(JournalEntries& entries, Encoder& encoder) {
    for (std::size_t at = 0; at < entries.fingerprints.size(); ++at) {
      encoder.clear();
      const std::uint64_t number = entries.first + at;
      try {
        if (!entries.encode_next(encoder)) continue;
      } catch (const std::exception& failure) {
        throw WireError(fmt::format("{} cannot record the result of item {}: {}", name, number, failure.what()));
      }
      store->insert(number, entries.fingerprints[at], encoder.bytes());
    }
  }

  Mutex store_mutex;  // Held also while the disk is waited for.
  std::unique_ptr<JournalStore> store;
  const std::string name;
  std::uint64_t recorded_end = 0;  // Behind the last record that was there when it was opened.

  Mutex mutex;
  ConditionVariable changed;
  std::vector<Ended> to_write TANDEM_GUARDED_BY(mutex);
  std::vector<std::uint64_t> written TANDEM_GUARDED_BY(mutex);
  std::exception_ptr error TANDEM_GUARDED_BY(mutex);
  bool closed TANDEM_GUARDED_BY(mutex) = false;
  std::optional<Thread> thread TANDEM_GUARDED_BY(mutex);
};

JournalCore::JournalCore(std::filesystem::path file, const JournalIdentity& identity)
    : inside_(std::make_unique<Inside>(std::move(file), identity)) {}

JournalCore::~JournalCore() {
  close();
}

bool JournalCore::has(std::uint64_t number, const Fingerprint& fingerprint) {
  if (number >= inside_->recorded_end) return false;
  MutexGuard guard(inside_->store_mutex);
  const std::optional<JournalStore::Record> record = inside_->store->find(number);
  if (!record) return false;
  if (record->fingerprint != fingerprint)
    throw JournalRefused(
        fmt::format("{} is of another input: item {} (from 0) was another one when it was recorded. "
                    "Delete the file to begin anew",
                    inside_->name, number));
  return true;
}

std::vector<std::byte> JournalCore::result(std::uint64_t number) {
  MutexGuard guard(inside_->store_mutex);
  std::optional<JournalStore::Record> record = inside_->store->find(number);
  if (!record)
    throw JournalRefused(fmt::format("{} was changed while it was open: item {} is gone", inside_->name, number));
  return std::move(record->result);
}

void JournalCore::check_length(std::uint64_t items) {
  if (items >= inside_->recorded_end) return;
  MutexGuard guard(inside_->store_mutex);
  if (const std::optional<std::uint64_t> beyond = inside_->store->find_from(items))
    throw JournalRefused(
        fmt::format("{} is of another input: it has a result of item {} (from 0), and this input has "
                    "{} items. Delete the file to begin anew",
                    inside_->name, *beyond, items));
}

void JournalCore::ended(std::uint64_t id, std::unique_ptr<JournalEntries> entries) noexcept {
  Inside& inside = *inside_;
  MutexGuard guard(inside.mutex);
  if (inside.closed || inside.error) return;
  try {
    inside.to_write.push_back({id, std::move(entries)});
    if (!inside.thread) {
      inside.thread.emplace(ThreadOptions{.name = "journal", .daemon = true}, [&inside] { inside.write_all(); });
      inside.thread->start();
    }
  } catch (...) {
    inside.error = std::current_exception();
  }
  inside.changed.notify_all();
}

void JournalCore::nothing_to_record(std::uint64_t id) noexcept {
  Inside& inside = *inside_;
  MutexGuard guard(inside.mutex);
  try {
    inside.written.push_back(id);
  } catch (...) {
    inside.error = std::current_exception();
  }
  inside.changed.notify_all();
}

std::vector<std::uint64_t> JournalCore::wait(const Deadline& deadline) TANDEM_NO_THREAD_SAFETY_ANALYSIS {
  Inside& inside = *inside_;
  BlockingSection blocking;
  std::unique_lock lock(inside.mutex);
  while (inside.written.empty() && !inside.error && !deadline.passed()) {
    if (deadline.is_never())
      inside.changed.wait(lock);
    else
      inside.changed.wait_for(lock, deadline.left(std::chrono::hours(24 * 365)));
  }
  if (inside.written.empty() && inside.error) std::rethrow_exception(inside.error);
  return std::exchange(inside.written, {});
}

void JournalCore::close() noexcept {
  std::optional<Thread> ended;
  {
    MutexGuard guard(inside_->mutex);
    inside_->closed = true;
    inside_->changed.notify_all();
    ended.swap(inside_->thread);
  }
  // A daemon is not waited for by its destructor.
  if (ended && ended->is_alive()) ended->join();
  MutexGuard guard(inside_->store_mutex);
  inside_->store.reset();
}

}  // namespace tandem::detail
