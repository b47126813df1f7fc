"""The store's tables. Money is whole cents: SQLite has no decimal type."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, ForeignKey, Index, Integer, String, Table
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """The common base; its metadata is the whole schema."""


class Artist(Base):
    __tablename__ = "artist"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120), index=True)
    albums: Mapped[list[Album]] = relationship(back_populates="artist", order_by="Album.id")


class Album(Base):
    __tablename__ = "album"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(160), index=True)
    year: Mapped[int]
    artist_id: Mapped[int] = mapped_column(ForeignKey("artist.id"), index=True)
    artist: Mapped[Artist] = relationship(back_populates="albums")
    tracks: Mapped[list[Track]] = relationship(back_populates="album", order_by="Track.id")


class Genre(Base):
    __tablename__ = "genre"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120), unique=True)


class MediaType(Base):
    __tablename__ = "media_type"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120), unique=True)
    mime: Mapped[str] = mapped_column(String(60))


playlist_track = Table(
    "playlist_track",
    Base.metadata,
    Column("playlist_id", Integer, ForeignKey("playlist.id"), primary_key=True),
    Column("track_id", Integer, ForeignKey("track.id"), primary_key=True, index=True),
)


class Track(Base):
    __tablename__ = "track"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), index=True)
    album_id: Mapped[int] = mapped_column(ForeignKey("album.id"), index=True)
    media_type_id: Mapped[int] = mapped_column(ForeignKey("media_type.id"))
    genre_id: Mapped[int] = mapped_column(ForeignKey("genre.id"))
    composer: Mapped[str | None] = mapped_column(String(220))
    milliseconds: Mapped[int]
    size_bytes: Mapped[int]
    price_cents: Mapped[int]
    album: Mapped[Album] = relationship(back_populates="tracks")
    genre: Mapped[Genre] = relationship()
    media_type: Mapped[MediaType] = relationship()
    # A genre is listed in the order of ids: one index serves the filter, the order and the page.
    __table_args__ = (Index("ix_track_genre", "genre_id", "id"),)


class Playlist(Base):
    __tablename__ = "playlist"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120))
    tracks: Mapped[list[Track]] = relationship(secondary=playlist_track)


class Employee(Base):
    __tablename__ = "employee"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120))
    title: Mapped[str] = mapped_column(String(60))
    reports_to: Mapped[int | None] = mapped_column(ForeignKey("employee.id"))


class Customer(Base):
    __tablename__ = "customer"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120))
    email: Mapped[str] = mapped_column(String(160), unique=True)
    country: Mapped[str] = mapped_column(String(60))
    support_rep_id: Mapped[int | None] = mapped_column(ForeignKey("employee.id"))


class Invoice(Base):
    __tablename__ = "invoice"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customer.id"), index=True)
    issued_at: Mapped[datetime]  # UTC, without a zone: both databases give back what was written
    total_cents: Mapped[int]
    lines: Mapped[list[InvoiceLine]] = relationship(back_populates="invoice", cascade="all, delete-orphan")


class InvoiceLine(Base):
    __tablename__ = "invoice_line"
    id: Mapped[int] = mapped_column(primary_key=True)
    invoice_id: Mapped[int] = mapped_column(ForeignKey("invoice.id"), index=True)
    track_id: Mapped[int] = mapped_column(ForeignKey("track.id"), index=True)
    price_cents: Mapped[int]
    quantity: Mapped[int] = mapped_column(default=1)
    invoice: Mapped[Invoice] = relationship(back_populates="lines")
