#include "support/power_loss.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <new>
#include <optional>

namespace tandem::testing {
namespace {

/// A write, or a change of length if there are no bytes.
struct Change {
  std::size_t at;
  std::string bytes;
};
void apply(const Change& change, std::string& content) {
  if (change.bytes.empty()) {
    content.resize(change.at);
  } else {
    content.resize(std::max(content.size(), change.at + change.bytes.size()));
    content.replace(change.at, change.bytes.size(), change.bytes);
  }
}

struct DiskFile {
  std::optional<std::string> on_disk{};  // Empty: never waited for.
  std::vector<Change> not_waited_for{};
};

}  // namespace

struct PowerLoss::Inside {
  mutable std::mutex mutex;
  std::string directory;
  std::map<std::string, DiskFile> files;
  int syncs = 0;
  sqlite3_vfs* real = nullptr;
  sqlite3_vfs vfs{};
};

namespace {

PowerLoss::Inside* active = nullptr;

/// What SQLite opens; the real one stands behind it in memory.
struct File {
  sqlite3_file base;
  std::string* name;
  sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};
File& as_file(sqlite3_file* file) {
  return *reinterpret_cast<File*>(file);
}
sqlite3_file* real(sqlite3_file* file) {
  return as_file(file).real();
}
template <class Do>
void note(sqlite3_file* file, Do action) {
  const std::string& name = *as_file(file).name;
  if (std::filesystem::path(name).parent_path() != active->directory) return;
  const std::lock_guard guard(active->mutex);
  action(active->files[name]);
}

int close_file(sqlite3_file* file) {
  const int code = real(file)->pMethods->xClose(real(file));
  delete as_file(file).name;
  return code;
}
int read_file(sqlite3_file* file, void* to, int size, sqlite3_int64 at) {
  return real(file)->pMethods->xRead(real(file), to, size, at);
}
int write_file(sqlite3_file* file, const void* from, int size, sqlite3_int64 at) {
  note(file, [&](DiskFile& disk) {
    disk.not_waited_for.push_back({static_cast<std::size_t>(at), std::string(static_cast<const char*>(from), size)});
  });
  return real(file)->pMethods->xWrite(real(file), from, size, at);
}
int truncate_file(sqlite3_file* file, sqlite3_int64 size) {
  note(file, [&](DiskFile& disk) { disk.not_waited_for.push_back({static_cast<std::size_t>(size), ""}); });
  return real(file)->pMethods->xTruncate(real(file), size);
}
int sync_file(sqlite3_file* file, int flags) {
  const int code = real(file)->pMethods->xSync(real(file), flags);
  if (code == SQLITE_OK)
    note(file, [](DiskFile& disk) {
      if (!disk.on_disk) disk.on_disk.emplace();
      for (const Change& change : disk.not_waited_for) apply(change, *disk.on_disk);
      disk.not_waited_for.clear();
      ++active->syncs;
    });
  return code;
}
int file_size(sqlite3_file* file, sqlite3_int64* size) {
  return real(file)->pMethods->xFileSize(real(file), size);
}
int lock_file(sqlite3_file* file, int level) {
  return real(file)->pMethods->xLock(real(file), level);
}
int unlock_file(sqlite3_file* file, int level) {
  return real(file)->pMethods->xUnlock(real(file), level);
}
int check_reserved_lock(sqlite3_file* file, int* reserved) {
  return real(file)->pMethods->xCheckReservedLock(real(file), reserved);
}
int file_control(sqlite3_file* file, int what, void* argument) {
  return real(file)->pMethods->xFileControl(real(file), what, argument);
}
int sector_size(sqlite3_file* file) {
  return real(file)->pMethods->xSectorSize(real(file));
}
int device_characteristics(sqlite3_file*) {
  return 0;  // Promises nothing, as a plain disk.
}

int open_file(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  // Version 1: SQLite shares no memory and maps nothing, so that all passes here.
  static const sqlite3_io_methods methods = [] {
    sqlite3_io_methods all{};
    all.iVersion = 1;
    all.xClose = close_file;
    all.xRead = read_file;
    all.xWrite = write_file;
    all.xTruncate = truncate_file;
    all.xSync = sync_file;
    all.xFileSize = file_size;
    all.xLock = lock_file;
    all.xUnlock = unlock_file;
    all.xCheckReservedLock = check_reserved_lock;
    all.xFileControl = file_control;
    all.xSectorSize = sector_size;
    all.xDeviceCharacteristics = device_characteristics;
    return all;
  }();
  file->pMethods = nullptr;
  const int code = active->real->xOpen(active->real, name, real(file), flags, out_flags);
  if (code != SQLITE_OK) return code;
  as_file(file).name = new std::string(name == nullptr ? "" : name);
  file->pMethods = &methods;
  return SQLITE_OK;
}
int delete_file(sqlite3_vfs*, const char* name, int sync_directory) {
  {
    const std::lock_guard guard(active->mutex);
    active->files.erase(name);
  }
  return active->real->xDelete(active->real, name, sync_directory);
}

}  // namespace

PowerLoss::PowerLoss(const std::string& directory) : inside_(std::make_unique<Inside>()) {
  inside_->directory = directory;
  inside_->real = sqlite3_vfs_find(nullptr);
  inside_->vfs = *inside_->real;
  inside_->vfs.zName = "power-loss";
  inside_->vfs.szOsFile = static_cast<int>(sizeof(File)) + inside_->real->szOsFile;
  inside_->vfs.xOpen = open_file;
  inside_->vfs.xDelete = delete_file;
  active = inside_.get();
  sqlite3_vfs_register(&inside_->vfs, 1);
}
PowerLoss::~PowerLoss() {
  sqlite3_vfs_unregister(&inside_->vfs);
  sqlite3_vfs_register(inside_->real, 1);
  active = nullptr;
}

void PowerLoss::write_what_is_left(const std::string& directory, double kept, std::mt19937_64& random) const {
  std::bernoulli_distribution reached(kept);
  const std::lock_guard guard(inside_->mutex);
  for (const auto& [name, disk] : inside_->files) {
    std::optional<std::string> content = disk.on_disk;
    for (const Change& change : disk.not_waited_for) {
      if (!reached(random)) continue;
      if (!content) content.emplace();
      apply(change, *content);
    }
    if (!content) continue;
    std::ofstream out(directory / std::filesystem::path(name).filename(), std::ios::binary);
    out.write(content->data(), static_cast<std::streamsize>(content->size()));
  }
}

int PowerLoss::syncs() const {
  const std::lock_guard guard(inside_->mutex);
  return inside_->syncs;
}

}  // namespace tandem::testing
